"""`python -m mandate.predictor`: serve one ONNX file. Exits 2 where it can't be loaded, with `Code: message`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from .onnx_model import ModelError, load

FILE_NAME = "model.onnx"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mandate.predictor", description="Serve one ONNX model over HTTP.")
    parser.add_argument("--model-dir", type=Path, required=True, help=f"folder with {FILE_NAME}, and nothing else read")
    parser.add_argument("--name", default="model", help="the model's name in the protocol's paths")
    parser.add_argument("--version", help="the version that answers carry; default: the file's digest")
    parser.add_argument("--digest", help="sha256:… that the file must have")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104  # probes and Services
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    options = parser.parse_args(arguments)
    try:
        model = load(options.model_dir / FILE_NAME, digest=options.digest)
    except ModelError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    from .server import cpu_limit, serve  # slow to import, so only once there is something to serve

    asyncio.run(
        serve(
            model,
            name=options.name,
            version=options.version,
            host=options.host,
            port=options.port,
            cpus=cpu_limit(),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
