"""`python -m mandate.admission generate|check DIRECTORY`: the chart's admission templates from the source."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mandate.admission.chart import files


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say which have drifted and exit 1. Files that nothing generates any more count too."""
    parser = argparse.ArgumentParser(prog="python -m mandate.admission", description=__doc__)
    parser.add_argument("action", choices=["generate", "check"])
    parser.add_argument("directory", type=Path, nargs="?", default=Path("helm/mandate/templates/admission"))
    options = parser.parse_args(arguments)
    directory: Path = options.directory
    texts = files()
    stale = [path for path in sorted(directory.glob("*.yaml")) if path.name not in texts]
    if options.action == "generate":
        directory.mkdir(parents=True, exist_ok=True)
        for path in stale:
            path.unlink()
        for name, text in texts.items():
            (directory / name).write_text(text)
        return 0
    changed = [directory / name for name, text in texts.items() if _read(directory / name) != text]
    for path in (*changed, *stale):
        print(f"{path}: differs from operator/mandate/admission; run `make generate`", file=sys.stderr)
    return 1 if changed or stale else 0


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
