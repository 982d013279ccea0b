"""`python -m mandate.predictor`: serve one model file.

Where it can't be loaded it exits 2 with `Code: message`, and with the same as JSON in the termination log
(`{"failure": {"stage", "code", "message"}}`), so that whoever watches the container needn't wait for another try.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from .errors import ModelError
from .model import FORMATS, load
from .options import FLUSH_SECONDS, add_recording, shipper_of

ANY = "MLflow"
"""What its MLmodel file names: one or the other."""
EXIT_MODEL = 2
"""The model file can't be loaded; another try would end the same."""
FILE_NAME = "model.onnx"
"""Whatever the format: folders and commands of Pods that run stay as they are."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mandate.predictor", description="Serve one model file over HTTP.")
    parser.add_argument("--model-dir", type=Path, required=True, help=f"folder with {FILE_NAME}, and nothing else read")
    parser.add_argument(
        "--format", choices=(*FORMATS, ANY), default="ONNX", help="what the file is; %(choices)s (default: %(default)s)"
    )
    parser.add_argument("--name", default="model", help="the model's name in the protocol's paths")
    parser.add_argument("--version", help="the version that answers carry; default: the file's digest")
    parser.add_argument("--digest", help="sha256:… that the file must have")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104  # probes and Services
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument("--termination-log", type=Path, help="file for why the model can't be loaded")
    add_recording(parser, os.environ)
    options = parser.parse_args(arguments)
    shipper, declared = shipper_of(parser, options)
    expected = None if options.format == ANY else options.format
    try:
        model = load(options.model_dir / FILE_NAME, digest=options.digest, expected=expected)
        if shipper is not None and declared.output not in model.outputs:
            raise ModelError("UnknownOutput", f"--output {declared.output}: the model has {', '.join(model.outputs)}")
    except ModelError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        if options.termination_log is not None:
            options.termination_log.write_text(_failure(error), encoding="utf-8")
        return EXIT_MODEL
    from .server import Recording, cpu_limit, serve  # slow to import, so only once there is something to serve

    recording = None
    if shipper is not None:
        recording = Recording(output=declared.output, record=shipper.put, inputs=shipper.wants_inputs)
        shipper.start()
    try:
        asyncio.run(
            serve(
                model,
                name=options.name,
                version=options.version,
                host=options.host,
                port=options.port,
                cpus=cpu_limit(),
                recording=recording,
            )
        )
    finally:
        if shipper is not None:
            shipper.close(FLUSH_SECONDS)
    return 0


def _failure(error: ModelError) -> str:
    """At most 4096 bytes, what a kubelet keeps."""
    message = "".join(character if character.isprintable() else " " for character in str(error))[:900]
    failure = {"stage": "Predict", "code": error.code, "message": message}
    return json.dumps({"failure": failure}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
