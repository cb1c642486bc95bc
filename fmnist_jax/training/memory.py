"""Memory of the CPU's programs, kept between two calls.

XLA allocates a program's memory anew for each call on a CPU, and the GNU C library
gives large pieces back to the system at once: each call then pays for every page's
first touch (results/speed.md).
"""

import ctypes

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Has the C library keep what is freed, in one place for all threads.

    Call before JAX makes its threads. Does nothing where there is no `mallopt`. Holds
    for the whole process, on the hosts of accelerators too.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return
    # No mapping of its own for a large piece, which would be given back; the top of the
    # heap is kept; and one heap, since a thread's own takes no more than 64 MB.
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    mallopt(_M_ARENA_MAX, 1)
