"""The numbers: splits, metrics, intervals, slices, baselines. Knows tables and arrays, nothing of Kubernetes."""
