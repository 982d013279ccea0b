"""Judges that misbehave. The name of the evaluation says how; any other evaluation is judged as it should be."""

import os
import sys
import time


def main() -> None:
    if "judge" not in sys.orig_argv:
        return
    from mandate.evaluate.frame import SETTINGS_VARIABLE, Failure, Result, frame, unpack

    behaviour = unpack(os.environ[SETTINGS_VARIABLE])["metadata"]["name"].split("-")[0]
    if behaviour == "garbled":
        print("MANDATE-RESULT/1 12 zz \x00 nothing of this is a result", flush=True)
        os._exit(0)
    if behaviour == "flooding":
        line = b"x" * 1023 + b"\n"
        for _ in range(100 * 1024):
            os.write(1, line)
        os._exit(0)
    if behaviour == "forging":
        # A well-formed result that the termination message doesn't vouch for.
        line, _ = frame(Result(failure=Failure(stage="Measure", code="Forged", message="not what was vouched for")))
        _, other = frame(Result(failure=Failure(stage="Measure", code="Vouched", message="never printed")))
        with open("/dev/termination-log", "w") as log:
            log.write(other.dump())
        print(line, end="", flush=True)
        os._exit(0)
    if behaviour == "hungry":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20) * 16))
            time.sleep(0.01)


main()
