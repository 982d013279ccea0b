"""The tables themselves: profiles, drift between two of them, quality, leakage. Pure; no model is needed.

A table is read once, into a profile of bounded size; everything about one column is computed from profiles, so a
stored reference needs no rows. What concerns whole rows (duplicates, leakage) takes tables.
"""
