"""The vocabulary: kinds, criteria grammar, metric catalogue, conditions. Pure; everything else speaks it."""
