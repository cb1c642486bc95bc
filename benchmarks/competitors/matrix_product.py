"""Not a competitor but a yardstick: how fast the machine multiplies matrices."""

import importlib.metadata
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.machine import MATRIX_SIZE
from benchmarks.workloads import Workload


class MatrixProduct:
    """float32 products of two square matrices, by XLA on all the cores."""

    def __init__(self, workload: Workload, folder: Path, threads: int):
        del workload, folder, threads  # XLA takes the cores that it may use.
        keys = jax.random.split(jax.random.key(0))
        shape = (MATRIX_SIZE, MATRIX_SIZE)
        self._matrices = [jax.random.normal(key, shape) for key in keys]
        self._multiply = jax.jit(jnp.matmul)

    def versions(self) -> dict[str, str]:
        """Of what multiplies."""
        return {'jaxlib': importlib.metadata.version('jaxlib')}

    def time(self, steps: int) -> tuple[int, float]:
        """How many products were made, and the seconds they took."""
        started = time.perf_counter()
        for _ in range(steps):
            self._multiply(*self._matrices).block_until_ready()
        return steps, time.perf_counter() - started
