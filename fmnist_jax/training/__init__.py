"""State, step, loop, optimizers, parallelism and checkpoints.

Rooms: `evaluation` scores trained runs, `exporting` makes a file of one, `sweep` trains
many, `lr_range_test` looks for a learning rate, `ahead_of_time` compiles for TPUs.
"""
