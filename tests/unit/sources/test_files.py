import hashlib

import pytest

from mandate.sources import SourceError, copy, digest_of, locate, verify


def code(call, *args, **kwargs) -> str:
    with pytest.raises(SourceError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.fixture
def claim(tmp_path):
    root = tmp_path / "claim"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.csv").write_text("a\n1\n")
    (tmp_path / "secret.csv").write_text("s\n1\n")
    return root


def test_a_claim_is_found_through_its_mount(claim):
    assert locate("pvc://data/sub/a.csv", mounts={"data": claim}) == (claim / "sub" / "a.csv").resolve()


@pytest.mark.parametrize("path", ["../secret.csv", "sub/../../secret.csv", "/../secret.csv", "./../secret.csv"])
def test_a_path_cannot_leave_its_claim(claim, path):
    assert code(locate, f"pvc://data/{path}", mounts={"data": claim}) == "OutsideMount"


def test_a_symbolic_link_cannot_leave_its_claim(claim):
    (claim / "link.csv").symlink_to(claim.parent / "secret.csv")
    assert code(locate, "pvc://data/link.csv", mounts={"data": claim}) == "OutsideMount"


def test_a_link_within_the_claim_is_followed(claim):
    (claim / "link.csv").symlink_to(claim / "sub" / "a.csv")
    assert locate("pvc://data/link.csv", mounts={"data": claim}).read_text() == "a\n1\n"


def test_what_is_not_there_is_named(claim):
    assert code(locate, "pvc://other/a.csv", mounts={"data": claim}) == "NotMounted"
    assert code(locate, "pvc://data/none.csv", mounts={"data": claim}) == "NotFound"
    assert code(locate, "pvc://data/sub", mounts={"data": claim}) == "IsDirectory"
    assert code(locate, "pvc://data", mounts={"data": claim}) == "IsDirectory"
    assert code(locate, "s3://data/a.csv", mounts={"data": claim}) == "UnknownScheme"
    assert code(locate, "file://elsewhere/a.csv", mounts={}) == "UnknownScheme"


def test_plain_paths_and_file_uris(claim):
    assert locate("sub/a.csv", mounts={}, base=claim) == claim / "sub" / "a.csv"
    assert locate(f"file://{claim}/sub/a.csv", mounts={}) == claim / "sub" / "a.csv"
    assert locate(str(claim / "sub" / "a.csv"), mounts={}, base=claim.parent) == claim / "sub" / "a.csv"


def test_digests(claim):
    path = claim / "sub" / "a.csv"
    expected = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest_of(path) == expected
    assert verify(path, declared=None) == verify(path, declared=expected) == expected


@pytest.mark.row("D4/digests")
def test_a_mismatch_names_both_digests(claim):
    path, wrong = claim / "sub" / "a.csv", "sha256:" + "0" * 64
    with pytest.raises(SourceError) as caught:
        verify(path, declared=wrong, name="data.source")
    assert caught.value.code == "DigestMismatch"
    for part in ("data.source", wrong, digest_of(path)):
        assert part in str(caught.value)


def test_a_copy_is_digested_while_it_is_written_and_removed_on_mismatch(claim, tmp_path):
    path, into = claim / "sub" / "a.csv", tmp_path / "copy.csv"
    assert copy(path, into, declared=None) == digest_of(path)
    assert into.read_bytes() == path.read_bytes()
    assert code(copy, path, into, declared="sha256:" + "0" * 64) == "DigestMismatch"
    assert not into.exists()


def test_an_unreadable_file(tmp_path):
    assert code(digest_of, tmp_path / "gone") == "Unreadable"
