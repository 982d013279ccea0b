import os
import pickle
import threading

import pytest

from mandate.measure.table import MeasureError
from mandate.measure.work import AHEAD, MOST, SERIAL, Threads, available, others, threads


def square(number):
    if number < 0:
        raise MeasureError("BelowZero", f"{number} is below 0")
    return number * number


@pytest.mark.parametrize("workers", [SERIAL, Threads(1), Threads(3)])
def test_results_come_in_the_tasks_order(workers):
    assert list(workers.map(square, range(50))) == [number * number for number in range(50)]
    assert list(workers.map(square, [])) == []
    assert workers.here is workers


def test_threads_work_at_the_same_time_and_give_the_first_result_first():
    last = threading.Event()

    def task(number):
        if number == 0:
            assert last.wait(10)  # so it ends after task 1
        else:
            last.set()
        return number

    assert list(Threads(2).map(task, [0, 1])) == [0, 1]


def test_tasks_are_taken_only_as_results_are():
    taken = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield number

    results = Threads(2).map(square, tasks())
    for most in range(5):
        assert next(results) == most * most
        assert len(taken) <= most + 1 + 2 * AHEAD
    results.close()
    assert len(taken) < 20


@pytest.mark.parametrize("workers", [SERIAL, Threads(2)])
def test_the_first_failure_in_order_is_raised(workers):
    found = workers.map(square, [1, 2, -3, -4])
    assert [next(found), next(found)] == [1, 4]
    with pytest.raises(MeasureError, match="-3 is below 0"):
        next(found)


def test_an_error_is_the_same_after_a_journey():
    error = pickle.loads(pickle.dumps(MeasureError("NotText", "column 'x' holds bytes")))
    assert (type(error), error.code, str(error)) == (MeasureError, "NotText", "column 'x' holds bytes")


@pytest.mark.parametrize("workers", [SERIAL, Threads(2)])
def test_work_aside_has_its_result_or_its_error(workers):
    with workers.aside() as submit:
        assert submit(divmod, 7, 2).result() == (3, 1)
        assert submit(int, "11", base=2).result() == 3
        with pytest.raises(MeasureError, match="-3 is below 0"):
            submit(square, -3).result()


def test_one_thread_is_none():
    assert threads(1) is SERIAL
    assert threads(2).count == 2
    with pytest.raises(ValueError, match="at least 1"):
        threads(0)


@pytest.mark.parametrize(
    ("quota", "most"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", MOST), ("", MOST)]
)
def test_a_container_keeps_to_its_share_of_the_cores(tmp_path, quota, most, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    assert available(quota=tmp_path / "cpu.max") == most
    assert available(quota=tmp_path / "none") == MOST


def test_who_is_left_beside_one_thread():
    assert others(SERIAL) is SERIAL
    assert others(Threads(2)) is SERIAL
    assert others(Threads(4)).count == 3
