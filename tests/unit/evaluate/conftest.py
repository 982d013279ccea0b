"""Fixtures of an evaluation."""

from tests.evaluation import claims, declared, pod

__all__ = ["claims", "declared", "pod"]
