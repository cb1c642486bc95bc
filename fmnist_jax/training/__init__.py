"""State, step, loop, optimizers, parallelism and checkpoints.

Rooms: `evaluation` scores trained runs, `exporting` makes a file of one, `sweeping`
trains many, `rate_range` looks for a learning rate, `ahead_of_time` compiles for TPUs.
"""
