"""What the kernel's accounts are read as."""

import os

import pytest

from mandate.predictor.usage import age, usage

STAT = "7 (a (strange) name) S 1 7 7 0 -1 4194560 " + " ".join(["0"] * 12) + " {started} 0 0"


@pytest.fixture
def process(tmp_path):
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "status").write_text("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  100 kB\n")
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    (folder / "stat").write_text(STAT.format(started=ticks))
    return folder


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_age_counts_from_the_processs_start(process):
    assert age(process, clock=lambda _: 103.5) == pytest.approx(3.5)


def test_the_own_age_is_that_of_this_process():
    assert 0 < age() < 86_400


@pytest.mark.row("L2/memory")
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"memory.peak": "5242880\n", "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n"},
            {"cpu": 2.5, "memory": 5242880},
        ),
        (
            {"memory/memory.max_usage_in_bytes": "1048576\n", "cpuacct/cpuacct.usage": "1500000000\n"},
            {"cpu": 1.5, "memory": 1048576},
        ),
        ({"cpu.stat": "usage_usec 2500000\n"}, None),
        ({"memory.peak": "none", "cpu.stat": "usage_usec 2500000\n"}, None),
    ],
    ids=["v2", "v1", "a kernel without memory.peak", "no number"],
)
def test_the_containers_cgroup_is_read_where_there_is_one(tmp_path, process, files, expected):
    write(tmp_path / "cgroup", files)
    said = usage(cold=1.5, cgroups=tmp_path / "cgroup", process=process)
    assert said["container"] == expected
    assert said["process"]["memory"] == 2048 * 1024
    assert (said["cold"], said["process"]["cpu"] > 0) == (1.5, True)
