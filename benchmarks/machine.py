"""The cores that everything is measured on, and what keeps competitors to them."""

import os
from collections.abc import Iterable
from pathlib import Path

# Everyone computes on so many threads.
THREADS = 2
# The machine's speed is that of the float32 product of two square matrices this large.
MATRIX_SIZE = 2048
FLOPS_PER_PRODUCT = 2 * MATRIX_SIZE**3


def use_cores(count: int = THREADS) -> list[int]:
    """Restricts this process, and those that it starts, to so many of its cores.

    Returns:
      The cores; empty where the system does not let a process choose.
    """
    if not hasattr(os, 'sched_setaffinity'):  # macOS.
        return []
    cores = choose_cores(os.sched_getaffinity(0), count)
    os.sched_setaffinity(0, cores)
    return cores


def choose_cores(available: Iterable[int], count: int) -> list[int]:
    """The first cores, hyper-threads of one core taken together only if need be."""
    ordered, seen = [], set()
    for core in sorted(available):
        siblings = _siblings(core)
        # First threads of their cores sort before the second ones.
        ordered.append((siblings in seen, core))
        seen.add(siblings)
    return sorted(core for _, core in sorted(ordered)[:count])


def _siblings(core: int) -> str:
    """The hyper-threads that share a core with this one, as Linux lists them."""
    topology = Path(f'/sys/devices/system/cpu/cpu{core}/topology')
    try:
        return (topology / 'thread_siblings_list').read_text()
    except OSError:
        return str(core)


def environment() -> dict[str, str]:
    """What is set for every competitor, before it imports anything."""
    return {
        'JAX_PLATFORMS': 'cpu',
        'CUDA_VISIBLE_DEVICES': '',
        'KERAS_BACKEND': 'tensorflow',
        # No processes of its own that compile beside the others.
        'TORCHINDUCTOR_COMPILE_THREADS': '1',
    }
