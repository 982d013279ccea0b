"""How often our limits are wrong, and what they can show, by simulation through the code that measures and decides.

    python -m tests.peers.coverage --repeats 10000 --table FILE.csv

A limit is wrong where it excludes the truth: a lower one above it, an upper one below it. Either may pass a gate that
it shouldn't, so each side's share must stay within the look's share of alpha, plus half a point, in every cell.
Numbers without an interval (`Unbounded`) pass nothing and so are never wrong; their share is printed too.

For a gate that asks for at least the very truth, a lower limit above it is a wrong pass and an upper one below it a
wrong fail; for one that asks for at most the truth it is the other way round. Power is told as a margin: by how much a
number must be better than what is asked for to pass at the first look in 80 % of runs.
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from mandate.api.catalogue import metrics_for
from mandate.evidence.intervals import AllPairs, Beta, Interval, Paired, StudentT, Unbounded
from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Declared, Floats, Sample, UndefinedError
from mandate.verdict.judge import share_of_alpha
from mandate.verdict.limits import beta_limits, contrast_limits, student_limits
from tests.peers import dependent
from tests.peers.cell import Cell, Draw, Population
from tests.peers.parts import PUBLISHED, Line, Parts, code
from tests.peers.parts import write as write_lines

SIZES = (50, 200, 1000)
PREVALENCES = (0.02, 0.1, 0.5)
LOOKS = (1, 2, 5)
MODELS = ((1.0, 1.0, None), (2.66, 1.0, None), (1.0, 2.0, None), (1.2, 1.0, 0.9))
"""Binary models: distance of the classes, sharpness of the scores, and the rival's distance or None."""
ALLOWANCE = 0.005
POWER = 0.8
CHANCE = 0.001
"""How rarely a share that is just allowed may look like more in a run of few repeats."""
FULL = 10_000
"""Repeats from which on a simulated share is taken as it is."""
BINARY = tuple(metric.name for metric in metrics_for("Binary") if metric.groups)
MULTICLASS = tuple(metric.name for metric in metrics_for("Multiclass") if metric.groups)
REGRESSION = tuple(metric.name for metric in metrics_for("Regression") if metric.groups)
TWO_CLASSES = Declared(beta=2.0, costs=np.array([[0.0, 1.0], [5.0, 0.0]]))
THREE_CLASSES = Declared(beta=2.0, top_k=2, costs=np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [10.0, 8.0, 0.0]]))
THREE_QUANTILES = Declared(quantiles=(0.1, 0.5, 0.9))


@dataclass(frozen=True, kw_only=True)
class Score:
    """Share of repeats in which each side's limit was wrong, by look, and without an interval.

    `margin` is how far below the truth a lower limit was, or above it an upper one, at the first look, in all but
    1 - POWER of the repeats; infinite where more than that had no interval.
    """

    cell: str
    metric: str
    repeats: int
    wrong: dict[tuple[int, str], float]
    unbounded: float
    margin: dict[str, float]

    def worst(self) -> tuple[int, str]:
        """The look and side whose limit was wrong most often, measured by what its look allows."""
        return max(self.wrong, key=lambda place: self.wrong[place] - share_of_alpha(confidence=0.95, look=place[0]))

    def excess(self) -> float:
        """The worst side's share above what its look allows; negative where all is well."""
        look, side = self.worst()
        return self.wrong[look, side] - share_of_alpha(confidence=0.95, look=look)

    def __str__(self) -> str:
        look, side = self.worst()
        share = self.wrong[look, side]
        explained = most_wrong(look=look, repeats=self.repeats) / self.repeats
        return (
            f"{self.cell} {self.metric}: wrong {share:.2%} (look {look}, {side}), {self.excess():+.2%} against alpha; "
            f"in {self.repeats} repeats chance explains {explained:.2%}"
        )


def posterior(x: Floats, *, prevalence: float, distance: float, sharpness: float = 1.0) -> Floats:
    """P(positive | x) for x ~ N(±distance/2, 1); `sharpness` other than 1 makes it over- or underconfident."""
    logit = distance * x + math.log(prevalence / (1 - prevalence))
    return np.asarray(1 / (1 + np.exp(-sharpness * logit)), dtype=np.float64)


def _binary_sample(y: NDArray[np.bool_], x: Floats, *, prevalence: float, distance: float, sharpness: float) -> Sample:
    score = posterior(x, prevalence=prevalence, distance=distance, sharpness=sharpness)
    return Sample(actual=y, label=x >= 0, score=score, declared=TWO_CLASSES)


def _grid(rows: int, axis: int) -> Floats:
    """Low-discrepancy normals (Roberts' R2 sequence), as a population without noise."""
    step = (0.7548776662466927, 0.5698402909980532)[axis]
    even = (0.5 + step * np.arange(1, rows + 1)) % 1.0
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / 20000) for i in range(20000)])
    return quantiles[np.minimum((even * 20000).astype(int), 19999)]


def binary_cell(
    *, rows: int, prevalence: float, distance: float, sharpness: float = 1.0, rival: float | None = None
) -> Cell:
    """Binormal scores; with `rival`, another model's distance, whose scores correlate with ours at 0.8 in a class."""

    def build(y: NDArray[np.bool_], noise: Floats, other: Floats) -> tuple[Sample, Sample | None]:
        side = np.where(y, 0.5, -0.5)
        mine = _binary_sample(y, side * distance + noise, prevalence=prevalence, distance=distance, sharpness=sharpness)
        if rival is None:
            return mine, None
        theirs = side * rival + 0.8 * noise + 0.6 * other
        return mine, _binary_sample(y, theirs, prevalence=prevalence, distance=rival, sharpness=1.0)

    def draw(rng: np.random.Generator) -> tuple[Sample, Sample | None, None]:
        y = rng.random(rows) < prevalence
        return *build(y, rng.standard_normal(rows), rng.standard_normal(rows)), None

    def populations() -> Iterator[Population]:
        size = 500_000
        positives = round(size * prevalence)
        y = np.arange(size) < positives
        noise = [np.concatenate([_grid(positives, axis), _grid(size - positives, axis)]) for axis in (0, 1)]
        yield build(y, noise[0], noise[1])

    against = "" if rival is None else f" against d={rival:g}"
    name = f"n={rows} prevalence={prevalence:g} d={distance:g} sharpness={sharpness:g}{against}"
    return Cell(name=name, draw=draw, populations=populations, metrics=BINARY)


def _one(draw: Draw) -> Callable[[], Iterator[Population]]:
    """A population drawn in one piece."""

    def populations() -> Iterator[Population]:
        mine, theirs, _ = draw(np.random.default_rng(1))
        yield mine, theirs

    return populations


def multiclass_cell(*, rows: int) -> Cell:
    """Three classes, the rarest of 5 %, with normal scores that lean towards the truth."""
    shares = np.array([0.65, 0.3, 0.05])

    def draw(rng: np.random.Generator, size: int = rows) -> tuple[Sample, None, None]:
        actual = rng.choice(3, size=size, p=shares)
        raw = np.exp(rng.standard_normal((size, 3)) + 1.5 * np.eye(3)[actual]) * shares
        score = raw / raw.sum(axis=1, keepdims=True)
        label = score.argmax(axis=1)
        return Sample(actual=actual, label=label, score=score, classes=3, declared=THREE_CLASSES), None, None

    populations = _one(lambda rng: draw(rng, 1_000_000))
    return Cell(name=f"n={rows} three classes", draw=draw, populations=populations, metrics=MULTICLASS)


SAMPLING = ("classes", "answers", "chance")
"""How rows with weights are drawn: positives more often than they occur; rows that score high five times as often; or
all alike, with weights that have nothing to do with them."""


def weighted_cell(*, rows: int, prevalence: float, sampling: str, rival: float | None = None) -> Cell:
    """About `rows` rows drawn unevenly, whose weights make up for it; the truth is that of all rows."""
    plain = binary_cell(rows=rows, prevalence=prevalence, distance=1.0, rival=rival)
    # Negatives are kept as often as there are positives, so that about as many of both are left; low scores, one in 5.
    left = {"classes": prevalence * (2 - prevalence), "answers": 0.45, "chance": 1.0}[sampling]
    many = binary_cell(rows=round(rows / left), prevalence=prevalence, distance=1.0, rival=rival)

    def draw(rng: np.random.Generator) -> tuple[Sample, Sample | None, None]:
        mine, theirs, _ = many.draw(rng)
        chance = np.ones(len(mine))
        weight = rng.lognormal(0.0, 1.0, len(mine))
        if sampling != "chance":
            chance = np.where(mine.actual, 1.0, prevalence) if sampling == "classes" else np.where(mine.label, 1.0, 0.2)
            weight = 1.0 / chance
        kept = rng.random(len(mine)) < chance
        mine = replace(mine, weight=weight).take(kept)
        return mine, None if theirs is None else replace(theirs, weight=weight).take(kept), None

    against = "" if rival is None else f" against d={rival:g}"
    name = f"n={rows} prevalence={prevalence:g} weights={sampling}{against}"
    return replace(plain, name=name, draw=draw)


RESIDUALS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t3": lambda rng, n: rng.standard_t(3, n),
    "t5": lambda rng, n: rng.standard_t(5, n),
    "lognormal": lambda rng, n: rng.lognormal(0.0, 1.0, n) - math.exp(0.5),
}


def _numbers_sample(actual: Floats, score: Floats, weight: Floats | None) -> Sample:
    """A point answer with quantiles at fixed distances."""
    quantiles = score[:, None] + [-1.2, 0.0, 1.5]
    return Sample(actual=actual, score=score, quantiles=quantiles, weight=weight, declared=THREE_QUANTILES)


def regression_cell(*, rows: int, residuals: str, rival: bool = False, weighted: bool = False) -> Cell:
    """Normal truth with sd 3 and residuals of a given shape; the rival adds noise to ours; weights are lognormal."""
    shape = RESIDUALS[residuals]

    def draw(rng: np.random.Generator, size: int = rows) -> tuple[Sample, Sample | None, None]:
        actual = 3 * rng.standard_normal(size)
        error = shape(rng, size)
        weight = rng.lognormal(0.0, 1.0, size) if weighted and size == rows else None
        score = actual + error + 0.5 * shape(rng, size) if rival else None
        other = None if score is None else _numbers_sample(actual, score, weight)
        return _numbers_sample(actual, actual + error, weight), other, None

    populations = _one(lambda rng: draw(rng, 2_000_000))
    name = f"n={rows} residuals={residuals}{' weighted' if weighted else ''}{' against a rival' if rival else ''}"
    return Cell(name=name, draw=draw, populations=populations, metrics=REGRESSION)


def cluster_cell(*, clusters: int, size: int, likeness: float, prevalence: float) -> Cell:
    """Clusters whose rows share part of their score: intra-cluster correlation `likeness` on the normal scale."""

    def draw(rng: np.random.Generator, clusters: int = clusters) -> tuple[Sample, None, NDArray[np.intp]]:
        codes = np.repeat(np.arange(clusters), size)
        shared, own = rng.standard_normal((2, clusters)), rng.standard_normal((2, clusters * size))
        mix = math.sqrt(likeness) * shared[:, codes] + math.sqrt(1 - likeness) * own
        y = mix[0] < NormalDist().inv_cdf(prevalence)
        sample = _binary_sample(y, np.where(y, 0.7, -0.7) + mix[1], prevalence=prevalence, distance=1.4, sharpness=1.0)
        return sample, None, codes

    populations = _one(lambda rng: draw(rng, 200_000))
    name = f"{clusters} clusters of {size} likeness={likeness:g} prevalence={prevalence:g}"
    return Cell(name=name, draw=draw, populations=populations, metrics=BINARY)


def sides(interval: Interval, look: int) -> tuple[float, float] | None:
    """The lower and upper limit on the metric's scale (of the difference, where paired)."""
    alpha = share_of_alpha(confidence=0.95, look=look)
    match interval:
        case Beta():
            return beta_limits(interval, alpha)
        case StudentT():
            return student_limits(interval, alpha)
        case Paired():
            return contrast_limits(interval, alpha, direction=1, margin=0.0, relative=False)
        case AllPairs() | Unbounded():
            return None
        case _:
            raise AssertionError(interval)


def score(cell: Cell, *, repeats: int, seed: int) -> list[Score]:
    """Draw, measure, bound, compare with the truth."""
    rng = np.random.default_rng([seed, zlib.crc32(cell.name.encode())])
    truth = cell.truth()
    wrong = {(metric, look, side): 0 for metric in cell.metrics for look in LOOKS for side in ("lower", "upper")}
    unbounded = dict.fromkeys(cell.metrics, 0)
    margins: dict[tuple[str, str], list[float]] = {(m, side): [] for m in cell.metrics for side in ("lower", "upper")}
    for _ in range(repeats):
        own, other, clusters = cell.draw(rng)
        for metric in cell.metrics:
            try:
                point = METRICS[metric](own)
                if other is None:
                    interval = uncertainty.alone(point, clusters)
                else:
                    interval = uncertainty.paired(point, METRICS[metric](other), clusters)
            except UndefinedError:
                unbounded[metric] += 1
                continue
            if sides(interval, 1) is None:
                unbounded[metric] += 1
                continue
            for look in LOOKS:
                limits = sides(interval, look)
                assert limits is not None
                if look == LOOKS[0]:
                    margins[metric, "lower"].append(truth[metric] - limits[0])
                    margins[metric, "upper"].append(limits[1] - truth[metric])
                wrong[metric, look, "lower"] += limits[0] > truth[metric]
                wrong[metric, look, "upper"] += limits[1] < truth[metric]
                if limits[0] <= truth[metric] <= limits[1]:
                    break  # later looks' limits are wider
    return [
        Score(
            cell=cell.name,
            metric=metric,
            repeats=repeats,
            wrong={(look, side): wrong[metric, look, side] / repeats for look in LOOKS for side in ("lower", "upper")},
            unbounded=unbounded[metric] / repeats,
            margin={side: _margin(margins[metric, side], repeats) for side in ("lower", "upper")},
        )
        for metric in cell.metrics
    ]


def _margin(found: list[float], repeats: int) -> float:
    """What POWER of all repeats stay within, those without limits being infinitely far."""
    place = math.ceil(POWER * repeats)
    return sorted(found)[place - 1] if place <= len(found) else math.inf


def _share_column(look: int, side: str) -> str:
    return f"{side} limit wrong, look {look}, %"


def lines(scores: Sequence[Score]) -> list[dict[str, object]]:
    """One per cell and metric: shares in percent, margins on the metric's scale."""
    found: list[dict[str, object]] = []
    for one in scores:
        digits = max(2, math.ceil(math.log10(one.repeats)) - 2)
        wrong = {_share_column(look, side): f"{100 * share:.{digits}f}" for (look, side), share in one.wrong.items()}
        margins = {"margin up": f"{one.margin['lower']:.4g}", "margin down": f"{one.margin['upper']:.4g}"}
        named = {"cell": one.cell, "metric": one.metric, "repeats": str(one.repeats)}
        found.append({**named, **wrong, "no interval, %": f"{100 * one.unbounded:.1f}", **margins})
    return found


def scored(line: Line | dict[str, object]) -> Score:
    """The score that a line tells."""
    told = {name: str(value) for name, value in line.items()}
    return Score(
        cell=told["cell"],
        metric=told["metric"],
        repeats=int(told["repeats"]),
        wrong={
            (look, side): float(told[_share_column(look, side)]) / 100 for look in LOOKS for side in ("lower", "upper")
        },
        unbounded=float(told["no interval, %"]) / 100,
        margin={"lower": float(told["margin up"]), "upper": float(told["margin down"])},
    )


def write(scores: Sequence[Score], path: Path) -> None:
    """All as CSV."""
    write_lines(lines(scores), path)


def cells() -> tuple[Cell, ...]:
    """Every simulated situation; a run may be stopped, so those first of which least has been published."""
    binary = [
        binary_cell(rows=rows, prevalence=prevalence, distance=distance, sharpness=sharpness, rival=rival)
        for rows in SIZES
        for prevalence in PREVALENCES
        for distance, sharpness, rival in MODELS
    ]
    weighted = [
        weighted_cell(rows=rows, prevalence=prevalence, sampling=sampling, rival=rival)
        for rows in SIZES
        for sampling in SAMPLING
        for prevalence in PREVALENCES[1:]
        for rival in (None, 0.9)
    ]
    numbers = [
        regression_cell(rows=rows, residuals=residuals, rival=rival, weighted=weights)
        for rows in SIZES
        for residuals in RESIDUALS
        for rival, weights in ((False, False), (True, False), (False, True))
    ]
    clusters = [
        cluster_cell(clusters=count, size=10, likeness=0.2, prevalence=prevalence)
        for count, prevalence in ((30, 0.5), (100, 0.1), (100, 0.5), (400, 0.1))
    ]
    classes = [multiclass_cell(rows=rows) for rows in SIZES]
    return (*dependent.cells(), *numbers, *weighted, *clusters, *classes, *binary)


def combinations(every: Sequence[Cell]) -> int:
    """How many pairs of a cell and a metric there are."""
    return sum(len(cell.metrics) for cell in every)


def code_of(line: Mapping[str, object]) -> str:
    """By which code a line would be found today."""
    return code("calibration", metric=str(line["metric"]))


def _run(cell: Cell, parts: Parts, *, repeats: int, seed: int) -> list[Score]:
    """The cell's scores, those that were kept and those that weren't."""
    kept = {line["metric"]: line for line in parts.found(cell.name) if line["metric"] in cell.metrics}
    left = [metric for metric in cell.metrics if metric not in kept]
    if left:
        found = score(replace(cell, metrics=left), repeats=repeats, seed=seed)
        parts.keep(cell.name, lines(found))
        kept |= {line["metric"]: line for line in lines(found)}
    return [scored(kept[metric]) for metric in cell.metrics]


def _run_at(place: int, parts: Parts, repeats: int, seed: int, metric: str) -> list[Score]:
    """In another process, which makes its own cells: they can't be sent there."""
    return _run(_asked(cells()[place], metric), parts, repeats=repeats, seed=seed)


def _asked(cell: Cell, metric: str) -> Cell:
    return replace(cell, metrics=[name for name in cell.metrics if metric in name])


def most_wrong(*, look: int, repeats: int) -> int:
    """Wrong limits on one side that a look's share of alpha and the allowance explain.

    In a run of fewer than FULL repeats a share that is just allowed shows more than this with probability CHANCE.
    """
    share = share_of_alpha(confidence=0.95, look=look) + ALLOWANCE
    return int(binom.isf(CHANCE, repeats, share)) if repeats < FULL else math.floor(share * repeats)


def tolerated(result: Score) -> bool:
    """Whether every side at every look is within what that look allows."""
    return all(
        round(share * result.repeats) <= most_wrong(look=look, repeats=result.repeats)
        for (look, _), share in result.wrong.items()
    )


def main() -> int:
    """Print every cell's worst side, then the worst cell of all; 1 where one exceeds the allowance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", "--replicates", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=20240)
    parser.add_argument("--only", default="", help="only cells whose name holds this")
    parser.add_argument("--metric", default="", help="only metrics whose name holds this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--parts", type=Path, help="where to keep what is found cell by cell, and to look for it")
    parser.add_argument("--table", type=Path, help="where to write every cell's figures as CSV")
    options = parser.parse_args()
    settings = {"repeats": str(options.repeats), "seed": str(options.seed)}
    parts = Parts(folder=options.parts, table="calibration", settings=settings, code=code_of)
    if known := parts.adopt(PUBLISHED / "calibration.csv"):
        print(f"{known} cells are published already, by the same code")
    asked = [(place, _asked(cell, options.metric)) for place, cell in enumerate(cells()) if options.only in cell.name]
    asked = [(place, cell) for place, cell in asked if cell.metrics]
    print(f"{combinations([cell for _, cell in asked]):,} combinations of {len(asked)} cells, {options.repeats:,} each")
    how = {"repeats": options.repeats, "seed": options.seed}
    scores: list[Score] = []
    with ExitStack() as stack:
        results: Iterable[list[Score]]
        if options.jobs > 1:
            pool = stack.enter_context(ProcessPoolExecutor(options.jobs))
            pending = [pool.submit(_run_at, place, parts, *how.values(), options.metric) for place, _ in asked]
            results = (future.result() for future in pending)
        else:
            results = (_run(cell, parts, **how) for _, cell in asked)
        began = time.monotonic()
        for (_, cell), found in zip(asked, results, strict=True):
            scores += found
            for result in found:
                look, side = result.worst()
                flag = " <-- too often" if result.excess() > ALLOWANCE else ""
                print(
                    f"{result.cell:58} {result.metric:24} wrong {result.wrong[look, side]:7.2%} (look {look}, {side}) "
                    f"unbounded {result.unbounded:6.1%}{flag}"
                )
            print(f"{cell.name}: done after {time.monotonic() - began:.0f} s", flush=True)
    if options.table:
        write(scores, options.table)
    worst = max(scores, key=Score.excess)
    print(f"worst cell: {worst}")
    return int(not all(map(tolerated, scores)))


if __name__ == "__main__":
    raise SystemExit(main())
