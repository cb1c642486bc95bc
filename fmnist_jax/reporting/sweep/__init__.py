"""What comes out of a sweep: `sweep.json`, a table, the winner and a figure.

The way through: each run's `outcomes`, shown by `progress` while they come in; the
`points` that the seeds of one config make, their `labels` and their `table`; `finish`
calls these, and prints what to do next.
"""
