import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data.profile import profile
from mandate.measure.data.quality import Limits, _ends, freshness, identities, quality, volume


def of(**columns):
    return profile([pa.table(columns)])


def codes(findings):
    return [(finding.code, finding.column) for finding in findings]


def test_a_sound_table_has_no_findings():
    one = of(x=[1.0, 2.0, 3.0], c=["a", "b", "a"])
    assert quality(one, part="train") == ()
    assert quality(one, part="test", reference=one) == ()


@pytest.mark.row("D6/faults")
def test_what_one_table_shows_by_itself():
    found = quality(
        of(
            gone=pa.nulls(10),
            nan=[float("nan")] * 10,
            gaps=[None] * 3 + [1, 2, 3, 4, 5, 6, 7],
            few=[None, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            same=["v"] * 10,
            far=[float("inf"), 1, 2, 3, 4, 5, 6, 7, 8, float("-inf")],
        ),
        part="train",
    )
    assert codes(found) == [
        ("AllMissing", "gone"), ("AllMissing", "nan"), ("Missing", "gaps"), ("Constant", "same"), ("Infinite", "far")
    ]  # fmt: skip
    by_code = {finding.code: finding for finding in found}
    assert by_code["Missing"].numbers == {"rows": 10, "missing": 3}
    assert by_code["Missing"].effect == 0.3
    assert by_code["Missing"].message == "'gaps' is missing on 30.0% of the rows of train"
    assert by_code["Infinite"].numbers == {"rows": 10, "infinite": 2}


def test_what_the_reference_has_as_well_is_no_news():
    one = of(gaps=[None] * 30 + [1] * 70)
    assert codes(quality(one, part="test", reference=one)) == []
    assert codes(quality(one, part="test", reference=of(gaps=[None] + [1, 2] * 50))) == [
        ("Missing", "gaps"), ("Constant", "gaps")
    ]  # fmt: skip


def test_gaps_and_rare_values_that_chance_moves_are_no_findings():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(100):
        columns = {f"f{i}": rng.random(300) < 0.01 for i in range(20)}
        columns |= {f"g{i}": np.where(rng.random(300) < 0.25, np.nan, rng.normal(size=300)) for i in range(10)}
        table = pa.table(columns)
        found += quality(profile([table.slice(210)]), part="test", reference=profile([table.slice(0, 210)]))
    assert len(found) <= 2  # 3,000 columns


@pytest.mark.parametrize("value", [7, "v", True, math.inf], ids=str)
def test_a_column_that_stands_still_is_found_by_how_common_its_value_was(value):
    other = {int: 8, str: "w", bool: False, float: 1.0}[type(value)]
    still = of(x=[value] * 200)
    for others, expected in ((1, []), (40, [("Constant", "x")]), (200, [("Constant", "x")])):
        reference = of(x=[other] * others + [value] * (400 - others))
        found = codes(quality(still, part="test", reference=reference))
        assert [one for one in found if one[0] != "Infinite"] == expected
    few = of(x=[value] * 2)
    found = codes(quality(few, part="test", reference=of(x=[other] * 200 + [value] * 200)))
    assert "Constant" not in dict(found)


def test_more_gaps_are_found_where_they_are_many_more():
    reference = of(x=[None] * 100 + [1, 2] * 150)
    for missing, expected in ((340, []), (370, ["Missing"])):
        rows = of(x=[None] * missing + [1, 2] * (500 - missing // 2))
        assert [finding.code for finding in quality(rows, part="test", reference=reference)] == expected


def test_rows_of_clusters_tell_less():
    reference, rows = of(x=["a", "b"] * 200), of(x=["a"] * 60)
    assert codes(quality(rows, part="test", reference=reference)) == [("Constant", "x")]
    assert codes(quality(rows, part="test", reference=reference, worth=(0.05, 0.05))) == []
    new = of(x=["a", "c"] * 30)
    assert codes(quality(new, part="test", reference=reference)) == [("UnseenCategory", "x")]
    assert codes(quality(new, part="test", reference=reference, worth=(0.05, 0.05))) == []


def test_schema_beside_a_reference():
    reference = of(a=[1, 2], b=[1, 2], c=["x", "y"], d=[True, False], e=[1, 2], f=pa.nulls(2))
    found = quality(
        of(new=[1, 2], b=["1", "2"], c=[True, False], d=[True, False], e=[1.0, 1.5], f=[1, 2]),
        part="test",
        reference=reference,
    )
    assert codes(found) == [
        ("DifferentType", "b"), ("DifferentType", "c"), ("MissingColumn", "a"), ("UnseenColumn", "new")
    ]  # fmt: skip
    assert found[0].message == "'b' holds texts in test (string), and numbers in the reference (int64)"


@pytest.mark.row("D6/faults")
def test_values_beyond_the_references_range():
    reference = of(x=[0.0, 10.0] * 25_000)
    found = quality(of(x=[5.0] * 95 + [-1.0, 11.0, 12.0, 10.0, 0.0]), part="test", reference=reference)
    assert codes(found) == [("BeyondRange", "x")]
    assert found[0].numbers == {"rows": 100, "beyond": 3, "least": 0, "most": 10}
    assert quality(of(x=[5.0] * 200 + [11.0]), part="test", reference=reference) == ()
    lenient = Limits(beyond=0.5)
    assert quality(of(x=[5.0, 4.0, 11.0]), part="test", reference=reference, limits=lenient) == ()
    few = of(x=[0.0, 10.0])
    assert quality(of(x=[5.0, 4.0, 11.0, 12.0]), part="test", reference=few) == ()


def test_ends_and_rare_texts_that_chance_moves_are_no_findings():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(100):
        columns = {f"x{i}": rng.normal(size=400) for i in range(10)}
        columns["c"] = [f"v{value}" for value in rng.zipf(1.8, 400)]
        table = pa.table(columns)
        found += quality(profile([table.slice(300)]), part="test", reference=profile([table.slice(0, 300)]))
    assert len(found) <= 2  # 1,100 columns
    shifted = pa.table({"x0": rng.normal(size=100) + 4})
    assert codes(quality(profile([shifted]), part="test", reference=of(x0=rng.normal(size=300)))) == [
        ("BeyondRange", "x0")
    ]


def test_as_many_values_beyond_an_end_are_as_likely_as_orders_are():
    """Of pooled values in any order, by counting: k of ours are the outermost in C(n + m - k, n) of C(n + m, n)."""
    for ours, others, outer in ((3, 5, 2), (10, 4, 1), (7, 7, 7)):
        expected = math.comb(ours + others - outer, others) / math.comb(ours + others, others)
        assert _ends(outer, of=ours, beside=others) == pytest.approx(expected)


@pytest.mark.row("D6/faults")
def test_unseen_texts_are_named_only_where_they_are_no_single_person():
    reference = of(x=["a", "b"] * 50)
    found = quality(of(x=["a"] * 80 + ["new"] * 10 + ["Ann Smith"]), part="test", reference=reference)
    assert codes(found) == [("UnseenCategory", "x")]
    assert found[0].numbers == {"rows": 91, "unseenRows": 11, "unseen": 2}
    assert "'new'" in found[0].message
    assert "Ann" not in found[0].message
    assert quality(of(x=["a", "new"]), part="test", reference=reference, leave_out=["x"]) == ()


def test_names_from_the_data_may_be_anything():
    name, text = "\x00" * 128, "\x01" * 500
    reference = profile([pa.table({name: ["a", "b"] * 20})])
    (found,) = quality(profile([pa.table({name: ["a"] * 20 + [text] * 20})]), part="test", reference=reference)
    assert (found.code, found.column) == ("UnseenCategory", name)
    assert 500 < len(found.message) <= 1024


def test_ten_thousand_texts_are_a_finding_unless_left_out():
    many = of(x=[f"n{i}" for i in range(10_000)])
    assert codes(quality(many, part="train")) == [("TooManyCategories", "x")]
    assert quality(many, part="train", leave_out=["x"]) == ()
    more = of(x=[f"n{i % 12_000}" for i in range(20_000)])
    (found,) = quality(more, part="test", reference=many)
    assert (found.code, found.effect) == ("TooManyCategories", 0.5)


def test_a_table_without_rows():
    assert codes(quality(of(x=pa.array([], pa.int64())), part="test")) == [("NoRows", None)]


@pytest.mark.row("D6/ids")
def test_ids_occur_once_and_everywhere():
    assert identities(pa.table({"id": ["a", "b", "c"]}), "id", part="test") == ()
    missing, twice = identities(pa.table({"id": [1, 1, 2, None, 3, 3, 3]}), "id", part="test")
    assert (missing.code, missing.numbers) == ("MissingId", {"rows": 7, "missing": 1})
    assert (twice.code, twice.numbers) == ("DuplicateId", {"rows": 7, "duplicateRows": 5, "ids": 2})
    assert twice.effect == pytest.approx(5 / 7)


NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)


@pytest.mark.row("D8/freshness")
def test_freshness_is_against_the_given_clock():
    stamps = of(t=np.array(["2024-05-08T12:00:00", "2024-05-09T12:00:00"], "datetime64[us]"), x=[1, 2])
    assert freshness(stamps, "t", now=NOW, oldest=86_400, part="live") == ()
    (stale,) = freshness(stamps, "t", now=NOW + timedelta(hours=1), oldest=86_400, part="live")
    assert (stale.code, stale.numbers) == ("Stale", {"seconds": 90_000, "oldest": 86_400})
    assert stale.message == "the newest 't' of live is 25.0 hours old, at most 24.0 hours is expected"
    (future,) = freshness(stamps, "t", now=NOW - timedelta(days=2), oldest=86_400, part="live")
    assert (future.code, future.numbers) == ("FromFuture", {"secondsAhead": 86_400})
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert freshness(stamps, "t", now=elsewhere, oldest=86_400, part="live") == ()
    assert freshness(stamps, "t", now=NOW - timedelta(days=1, minutes=4), oldest=0, part="live") == (), "clocks differ"
    for column in ("x", "nowhere"):
        assert codes(freshness(stamps, column, now=NOW, oldest=0, part="live")) == [("NoTimes", column)]


@pytest.mark.row("D8/volume")
def test_volume_beside_what_is_usual():
    rows = of(x=list(range(100)))
    assert volume(rows, usual=200, part="live") == volume(rows, usual=50, part="live") == ()
    (few,) = volume(rows, usual=400, part="live")
    assert (few.code, few.effect) == ("FewRows", 0.75)
    (many,) = volume(rows, usual=40, part="live")
    assert (many.code, many.effect) == ("ManyRows", pytest.approx(0.6))
