"""Processes that train together: how they join, what they agree on, who writes.

JAX's own distributed runtime connects them
(https://docs.jax.dev/en/latest/multi_process.html). The first process alone reads and
writes the work folder, so that the others need not see it; what it read it hands on.
Everything here but `joined` is for one process as well, and does nothing more then.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from fmnist_jax.errors import (
    DivergenceError,
    LostProcessError,
    UserError,
    one_line,
)
from fmnist_jax.reporting.console import log

# After so long without a sign of life of one process the runtime ends the others.
HEARTBEAT_SECONDS = 20
# How long a process waits for the others when it starts, and at its end, while the
# first may still be writing. One that ends badly does not wait.
_JOIN_SECONDS = 300
_LEAVE_SECONDS = 300
_FLAGS = ('coordinator_address', 'num_processes', 'process_id')
# How a collective, or the runtime, tells of it.
_LOST = re.compile('Gloo|UNAVAILABLE|DEADLINE_EXCEEDED|coordination service')
_T = TypeVar('_T')
# The PCI vendor number of Google, whose VFIO devices are TPUs.
_GOOGLE = '0x1ae0'


@contextlib.contextmanager
def joined(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_seconds: int = _JOIN_SECONDS,
) -> Iterator[None]:
    """Joins the other processes; enter it before JAX uses a device.

    On Cloud TPU, where nothing is given, the machine says who they are.

    Args:
      coordinator_address: host:port of the first process; all three or none are given.
      num_processes: how many there are.
      process_id: which this is, from 0.
      timeout_seconds: how long to wait for the others.

    Raises:
      UserError: the three do not fit together, or the others cannot be reached.
      LostProcessError: another process has gone.
      DivergenceError: raised within, which is in all; all have come to it.
    """
    _join(coordinator_address, num_processes, process_id, timeout_seconds)
    try:
        yield
    except DivergenceError:
        _leave_together()
        raise
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not _LOST.search(str(error)):
            raise
        raise LostProcessError(
            f'lost one of the {jax.process_count()} processes ({one_line(error)}); '
            'what it printed says why. Start all of them again to go on'
        ) from error
    except Exception as error:
        if jax.process_count() == 1 or isinstance(error, UserError):
            raise
        # An orderly exit would wait for the others, who may wait for this process.
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)


def _leave_together() -> None:
    """Waits for the others: the runtime aborts those that one leaves behind."""
    # That this fails is less than what is to be told.
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.distributed.shutdown()


def _join(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    timeout_seconds: int,
) -> None:
    values = (coordinator_address, num_processes, process_id)
    if values == (None, None, None):
        if not _has_tpu():
            return
    else:
        _check(*values)
        # The runtime ends the process if they do not come.
        log(
            f'process {process_id} of {num_processes}: waiting for the others at '
            f'{coordinator_address}, at most {timeout_seconds} s'
        )
    try:
        jax.distributed.initialize(
            *values,
            initialization_timeout=timeout_seconds,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_LEAVE_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'cannot join the other processes at {coordinator_address}: {reason}; '
            'start all of them with the same --coordinator_address and --num_processes'
        ) from error


def _check(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    values = (coordinator_address, num_processes, process_id)
    missing = [name for name, x in zip(_FLAGS, values, strict=True) if x is None]
    if missing:
        raise UserError(
            f'--{missing[0]} is missing: --{", --".join(_FLAGS)} are given together, '
            'or none of them'
        )
    if not re.fullmatch(r'.+:\d{1,5}', coordinator_address):
        raise UserError(
            f'--coordinator_address must be HOST:PORT of the first process, not '
            f'{coordinator_address!r}'
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise UserError(
            f'--process_id must be from 0 to --num_processes - 1, not {process_id} of '
            f'{num_processes}'
        )


def _has_tpu() -> bool:
    """Whether JAX will use TPUs of this machine, which may be one of several."""
    if 'tpu' not in (jax.config.jax_platforms or 'tpu'):
        return False
    if any(Path('/dev').glob('accel*')):
        return True
    vendors = Path('/sys/bus/pci/devices').glob('*/vendor')
    has_vfio = any(Path('/dev/vfio').glob('[0-9]*'))
    return has_vfio and any(_GOOGLE in vendor.read_text() for vendor in vendors)


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
      is_set: whether a signal came that Python noticed: SIGINT, and SIGTERM where none
        have joined.
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
