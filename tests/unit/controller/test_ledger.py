"""The ledger of looks: numbered per overlapping rows, the same look once, whatever happens to requests."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from mandate.controller.ledger import Ledger
from mandate.kube.errors import ConflictError, UnavailableError
from mandate.kube.resources import CONFIG_MAPS
from tests.unit.controller.fake_api import FakeApi
from tests.unit.virtual import run

ROWS, MORE, OTHER = ("a", "b"), ("b", "c"), ("x", "y")


def ledger(api: FakeApi) -> Ledger:
    return Ledger(api, namespace="mandate-system")  # type: ignore[arg-type]


@pytest.mark.row("G5/looks")
def test_looks_at_overlapping_rows_count_together_and_a_repeat_is_no_new_look() -> None:
    async def main() -> list[int]:
        book = ledger(FakeApi(random.Random(0)))
        looks = [(ROWS, "1"), (OTHER, "2"), (MORE, "3"), (ROWS, "1"), (ROWS, "4"), (OTHER, "5")]
        return [await book.record(rows, look) for rows, look in looks]

    assert run(main()) == [1, 1, 2, 1, 3, 2]


def test_an_entry_without_settings_is_of_the_first_settings_that_ask() -> None:
    async def main() -> tuple[list[int], dict[str, int]]:
        book = ledger(FakeApi(random.Random(0)))
        looks = [("1", ""), ("old", ""), ("new", "old"), ("newer", "old"), ("new", "old"), ("5", "")]
        return [await book.record(ROWS, look, former=former) for look, former in looks], dict(book.looks)

    numbers, known = run(main())
    assert numbers == [1, 2, 2, 3, 2, 4]
    assert known["old"] == 2, "evidence of a champion that stands is still found by it"


def test_it_outlives_the_process() -> None:
    async def main() -> tuple[int, dict[str, int]]:
        api = FakeApi(random.Random(0))
        for look in ("1", "2"):
            first = ledger(api)
            await first.load()
            await first.record(ROWS, look)
        second = ledger(api)
        await second.load()
        return await second.record(MORE, "3"), dict(second.looks)

    number, looks = run(main())
    assert number == 3
    assert looks == {"1": 1, "2": 2, "3": 3}


def test_someone_elses_write_is_seen_before_ones_own_counts() -> None:
    async def main() -> int:
        api = FakeApi(random.Random(0))
        first, second = ledger(api), ledger(api)
        await first.load()
        await second.load()
        await first.record(ROWS, "1")
        with pytest.raises(ConflictError):
            await second.record(ROWS, "2")
        return await second.record(ROWS, "2")

    assert run(main()) == 2


@pytest.mark.parametrize("seed", range(20))
def test_lost_requests_and_answers_leave_no_gap_and_no_double(seed: int) -> None:
    async def main() -> list[int]:
        api = FakeApi(random.Random(seed), faults=0.4)
        book = ledger(api)

        async def record(look: str) -> int:
            while True:
                with contextlib.suppress(ConflictError, UnavailableError):
                    return await book.record(ROWS, look)

        numbers = await asyncio.gather(*(record(str(look)) for look in range(8)))
        assert len(api.all(CONFIG_MAPS)) == 1
        return sorted(numbers)

    assert run(main()) == list(range(1, 9))
