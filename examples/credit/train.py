"""Train the credit model, a logistic regression on the training rows that credit.yaml declares; write it as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.training import Declared, declared, write_onnx

HERE = Path(__file__).parent


def fit(declared: Declared) -> Pipeline:
    """A plain logistic regression at scikit-learn's defaults: 603 rows carry no more."""
    encode = ColumnTransformer(
        [
            ("strings", OneHotEncoder(handle_unknown="ignore"), declared.strings),
            ("numbers", StandardScaler(), declared.numbers),
        ]
    )
    return Pipeline([("encode", encode), ("regress", LogisticRegression(max_iter=1000))]).fit(
        declared.features(declared.train), declared.truth(declared.train)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the credit example's model.")
    parser.add_argument("--models", type=Path, default=HERE / "models", help="folder to fill (default: %(default)s)")
    found = declared(HERE / "credit.yaml", data=HERE / "data")
    write_onnx(fit(found), found, found.model_path(parser.parse_args().models))


if __name__ == "__main__":
    main()
