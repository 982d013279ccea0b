"""Evidently's drift of all columns and, with labels, its binary classification, on two Parquet files.

Runs with the Python that has Evidently (requirements/bench-evidently.txt), and imports nothing of ours. Prints one line
of JSON: seconds of import, of work (files read again, everything computed) and the peak of memory in bytes.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
start = time.perf_counter()
import pandas as pd  # noqa: E402
from evidently import BinaryClassification, DataDefinition, Dataset, Report  # noqa: E402
from evidently.presets import ClassificationPreset, DataDriftPreset  # noqa: E402

imported = time.perf_counter() - start


def main() -> None:
    reference, current = sys.argv[1:3]
    labels = "labels" in sys.argv[3:]
    start = time.perf_counter()
    frames = [pd.read_parquet(path) for path in (reference, current)]
    numbers = [name for name in frames[0] if name.startswith("n")]
    texts = [name for name in frames[0] if name.startswith("t")]
    whose = [BinaryClassification(target="y", prediction_probas="score")] if labels else None
    definition = DataDefinition(classification=whose, numerical_columns=numbers, categorical_columns=texts)
    known, new = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    presets = [DataDriftPreset(columns=[*numbers, *texts]), *([ClassificationPreset()] if labels else [])]
    found = Report(presets).run(new, known).dict()["metrics"]
    work = time.perf_counter() - start
    with open("/proc/self/status") as status:  # getrusage's would be that of the process that started it, if more
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024
    print(json.dumps({"import": imported, "work": work, "peak": peak, "outputs": len(found)}))


main()
