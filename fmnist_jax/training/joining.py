"""How processes that train together find each other, and part.

JAX's own distributed runtime connects them
(https://docs.jax.dev/en/latest/multi_process.html).
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import jax

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
