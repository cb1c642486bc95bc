"""State, step, loop, optimizers, parallelism and checkpoints."""
