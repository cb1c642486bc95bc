"""Processes that train together: what they agree on, and who writes.

The first process alone reads and writes the work folder, so that the others need not
see it; what it read it hands on. Everything here is for one process as well, and does
nothing more then. How they join is in `joining`.
"""

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from fmnist_jax.errors import UserError

_T = TypeVar('_T')


def is_first() -> bool:
    """Whether this is the process that reads and writes the work folder."""
    return jax.process_index() == 0


def only_first(function: Callable[[str], None]) -> Callable[[str], None]:
    """`function`, for the first process; what does nothing, for the others."""
    return function if is_first() else lambda _: None


def together(function: Callable[[], _T]) -> _T:
    """Calls a function in every process; where it fails in one, it fails in all.

    Raises:
      UserError: that it failed elsewhere. What the function raised here is raised.
    """
    result, error = None, None
    try:
        result = function()
    except BaseException as caught:
        error = caught
    if jax.process_count() > 1:
        failed = multihost_utils.process_allgather(np.int32(error is not None))
        if failed.any() and error is None:
            raise UserError(f'process {failed.argmax()} has failed; see what it says')
    if error is not None:
        raise error
    return result


def from_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process alone, and gives all what it returned.

    Args:
      function: of plain data, that JSON can hold.

    Raises:
      UserError: in all, if the function raised it.
    """
    result = together(lambda: function() if is_first() else None)
    if jax.process_count() == 1:
        return result
    content = json.dumps(result).encode()
    return json.loads(_broadcast(np.frombuffer(content, np.uint8)).tobytes())


def arrays_from_first(tree: PyTree) -> PyTree:
    """The first process's arrays in all, bit for bit.

    Args:
      tree: of arrays on the host, of the same shapes and dtypes in all.
    """
    if jax.process_count() == 1:
        return tree
    leaves, structure = jax.tree.flatten(jax.device_get(tree))
    content = b''.join(np.asarray(leaf).tobytes() for leaf in leaves)
    content = _broadcast(np.frombuffer(content, np.uint8)).tobytes()
    received, position = [], 0
    for leaf in map(np.asarray, leaves):
        part = content[position : position + leaf.nbytes]
        received.append(np.frombuffer(part, leaf.dtype).reshape(leaf.shape))
        position += leaf.nbytes
    return jax.tree.unflatten(structure, received)


def _broadcast(content: np.ndarray) -> np.ndarray:
    """The first process's bytes, in all; uint8, since a sum of floats loses -0."""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    if not is_first():
        content = np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(content))


def check_same(what: str, value: Any) -> None:
    """Checks that something is the same in all processes.

    Args:
      what: it is called, in a message.
      value: plain data, that JSON can hold.

    Raises:
      UserError: it differs.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(value, sort_keys=True)
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    digests = multihost_utils.process_allgather(digest)
    differing = (digests != digests[0]).any(axis=1)
    if differing.any():
        raise UserError(
            f'process {differing.argmax()} has {what} other than the first has: start '
            'all with the same command on the same data'
        )


def agree_to_stop(is_set: Callable[[], bool]) -> Callable[[], bool]:
    """Makes what says whether all processes are to stop, since a signal came to one.

    It is to be asked equally often in all: after each call of the train step. Where
    processes have joined (or one, on a single TPU host), JAX has taken SIGTERM over; it
    finds the call after which all can stop.

    Args:
      is_set: whether a signal came that Python noticed: SIGINT, SIGHUP, and SIGTERM
        where none have joined.
    """
    if not jax.distributed.is_initialized():
        return is_set
    calls, told = itertools.count(1), []

    def should_stop() -> bool:
        if is_set() and not told:
            told.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return multihost_utils.reached_preemption_sync_point(next(calls))

    return should_stop
