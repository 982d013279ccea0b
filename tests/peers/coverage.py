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
import csv
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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
Draw = Callable[[np.random.Generator], tuple[Sample, Sample | None, NDArray[np.intp] | None]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One simulated situation and what is measured in it."""

    name: str
    draw: Draw
    population: tuple[Sample, Sample | None]
    metrics: Sequence[str]


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

    size = 500_000
    positives = round(size * prevalence)
    y = np.arange(size) < positives
    noise = [np.concatenate([_grid(positives, axis), _grid(size - positives, axis)]) for axis in (0, 1)]
    against = "" if rival is None else f" against d={rival:g}"
    name = f"n={rows} prevalence={prevalence:g} d={distance:g} sharpness={sharpness:g}{against}"
    return Cell(name=name, draw=draw, population=build(y, noise[0], noise[1]), metrics=BINARY)


def multiclass_cell(*, rows: int) -> Cell:
    """Three classes, the rarest of 5 %, with normal scores that lean towards the truth."""
    shares = np.array([0.65, 0.3, 0.05])

    def draw(rng: np.random.Generator, size: int = rows) -> tuple[Sample, None, None]:
        actual = rng.choice(3, size=size, p=shares)
        raw = np.exp(rng.standard_normal((size, 3)) + 1.5 * np.eye(3)[actual]) * shares
        score = raw / raw.sum(axis=1, keepdims=True)
        label = score.argmax(axis=1)
        return Sample(actual=actual, label=label, score=score, classes=3, declared=THREE_CLASSES), None, None

    population, _, _ = draw(np.random.default_rng(1), 1_000_000)
    return Cell(name=f"n={rows} three classes", draw=draw, population=(population, None), metrics=MULTICLASS)


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

    mine, theirs, _ = draw(np.random.default_rng(1), 2_000_000)
    name = f"n={rows} residuals={residuals}{' weighted' if weighted else ''}{' against a rival' if rival else ''}"
    return Cell(name=name, draw=draw, population=(mine, theirs), metrics=REGRESSION)


def cluster_cell(*, clusters: int, size: int, likeness: float, prevalence: float) -> Cell:
    """Clusters whose rows share part of their score: intra-cluster correlation `likeness` on the normal scale."""

    def draw(rng: np.random.Generator, clusters: int = clusters) -> tuple[Sample, None, NDArray[np.intp]]:
        codes = np.repeat(np.arange(clusters), size)
        shared, own = rng.standard_normal((2, clusters)), rng.standard_normal((2, clusters * size))
        mix = math.sqrt(likeness) * shared[:, codes] + math.sqrt(1 - likeness) * own
        y = mix[0] < NormalDist().inv_cdf(prevalence)
        sample = _binary_sample(y, np.where(y, 0.7, -0.7) + mix[1], prevalence=prevalence, distance=1.4, sharpness=1.0)
        return sample, None, codes

    population, _, _ = draw(np.random.default_rng(1), 200_000)
    name = f"{clusters} clusters of {size} likeness={likeness:g} prevalence={prevalence:g}"
    return Cell(name=name, draw=draw, population=(population, None), metrics=BINARY)


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
    mine, theirs = cell.population
    truth: dict[str, float] = {}
    for metric in cell.metrics:
        value = METRICS[metric](mine).value
        truth[metric] = value if theirs is None else value - METRICS[metric](theirs).value
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


def write(scores: Sequence[Score], path: Path) -> None:
    """One line per cell and metric: shares in percent, margins on the metric's scale."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        shares = [f"{side} limit wrong, look {look}, %" for look in LOOKS for side in ("lower", "upper")]
        table.writerow(["cell", "metric", "repeats", *shares, "no interval, %", "margin up", "margin down"])
        for found in scores:
            wrong = [f"{100 * found.wrong[look, side]:.2f}" for look in LOOKS for side in ("lower", "upper")]
            none = f"{100 * found.unbounded:.1f}"
            margins = [f"{found.margin[side]:.4g}" for side in ("lower", "upper")]
            table.writerow([found.cell, found.metric, found.repeats, *wrong, none, *margins])


def cells() -> Iterator[Callable[[], Cell]]:
    """Every simulated situation, made when it is needed."""
    for rows in SIZES:
        for prevalence in PREVALENCES:
            for distance, sharpness, rival in MODELS:
                yield lambda n=rows, p=prevalence, d=distance, s=sharpness, r=rival: binary_cell(
                    rows=n, prevalence=p, distance=d, sharpness=s, rival=r
                )
        yield lambda n=rows: multiclass_cell(rows=n)
        for residuals in RESIDUALS:
            for rival in (False, True):
                yield lambda n=rows, s=residuals, r=rival: regression_cell(rows=n, residuals=s, rival=r)
    for rows in SIZES:
        for sampling in SAMPLING:
            for prevalence in PREVALENCES[1:]:
                for rival in (None, 0.9):
                    yield lambda n=rows, p=prevalence, s=sampling, r=rival: weighted_cell(
                        rows=n, prevalence=p, sampling=s, rival=r
                    )
        for residuals in RESIDUALS:
            yield lambda n=rows, s=residuals: regression_cell(rows=n, residuals=s, weighted=True)
    for clusters, prevalence in ((30, 0.5), (100, 0.1), (100, 0.5), (400, 0.1)):
        yield lambda c=clusters, p=prevalence: cluster_cell(clusters=c, size=10, likeness=0.2, prevalence=p)


def _run(index: int, repeats: int, seed: int, only: str, metric: str) -> list[Score]:
    cell = list(cells())[index]()
    wanted = [name for name in cell.metrics if metric in name] if only in cell.name else []
    return score(replace(cell, metrics=wanted), repeats=repeats, seed=seed) if wanted else []


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
    parser.add_argument("--repeats", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20240)
    parser.add_argument("--only", default="")
    parser.add_argument("--metric", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", type=Path, help="where to write every cell's figures as CSV")
    options = parser.parse_args()
    scores: list[Score] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        pending = [
            pool.submit(_run, i, options.repeats, options.seed, options.only, options.metric)
            for i in range(len(list(cells())))
        ]
        for future in pending:
            for result in future.result():
                scores.append(result)
                look, side = result.worst()
                share = result.wrong[look, side]
                flag = " <-- too often" if result.excess() > ALLOWANCE else ""
                print(
                    f"{result.cell:58} {result.metric:24} wrong {share:7.2%} (look {look}, {side}) "
                    f"unbounded {result.unbounded:6.1%}{flag}",
                    flush=True,
                )
    if options.table:
        write(scores, options.table)
    worst = max(scores, key=Score.excess)
    print(f"worst cell: {worst}")
    return int(not all(map(tolerated, scores)))


if __name__ == "__main__":
    raise SystemExit(main())
