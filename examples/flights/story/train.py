"""Train the story's two versions, each on months of its own of the training rows, and write them and today's rule."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from examples.flights.train import fit, rule
from examples.training import Declared, declared, write, write_onnx

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Lesson:
    """What a version learns from: the days from `first` until before `end`, without the columns that it `ignores`."""

    version: str
    first: str
    end: str
    ignores: tuple[str, ...] = ()


LESSONS = (
    Lesson("1", "2013-01-01", "2013-04-01", ignores=("recent_delay", "recent_lost", "dest_lost")),
    Lesson("2", "2013-04-01", "2013-07-01"),
)


def only(found: Declared, lesson: Lesson) -> Declared:
    """The same declaration with only what the lesson holds."""
    days = found.train[found.spec.task.cluster]
    return replace(
        found,
        numbers=[name for name in found.numbers if name not in lesson.ignores],
        train=found.train[(days >= lesson.first) & (days < lesson.end)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the models of the flights story.")
    parser.add_argument("--out", type=Path, default=Path("out/story"), help="folder that prepare filled")
    out: Path = parser.parse_args().out
    for lesson in LESSONS:
        found = declared(HERE / f"flights-v{lesson.version}.yaml", data=out / "data")
        # It takes what it ignores too, so that callers needn't know which version answers.
        write_onnx(fit(only(found, lesson), weights=None), found, found.model_path(out / "models"))
    write(out / "models" / "rule" / "model.onnx", rule(found))


if __name__ == "__main__":
    main()
