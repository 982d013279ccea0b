"""Criteria × evidence → verdict. Pure: the same inputs give the same verdict on a laptop, in CI, in the cluster."""
