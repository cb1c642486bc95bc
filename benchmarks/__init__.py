"""This project's training step beside other frameworks'; see `peers`.

The way through it: `peers` (flags) → `benchmark` (a process for each competitor, turn
by turn) → `process` and `worker` (the two ends of a pipe) → `competitors` (one file a
framework) on `workloads` (the models) and `start` (the weights, data and order that
all begin from) → `summary` (medians and ratios).
"""
