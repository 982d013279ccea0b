"""Metric definitions of the product."""
