"""Has a training running on a TPU VM: the one that is there, or a new one."""

import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fmnist_jax.cloud import job, options, source
from fmnist_jax.cloud.runner import say
from fmnist_jax.cloud.vm import UnreachableError, Vm
from fmnist_jax.cloud.watch import Watch
from fmnist_jax.errors import UserError

# Attempts to start a training, at first and after one that ran.
_ATTEMPTS, _ATTEMPTS_AGAIN = 4, 30


def workdir(flags: Sequence[str]) -> str:
    """The work folder that a training's flags name first."""
    return flags[0].partition('=')[2]


def begin(machine: Vm, flags: list[str] | None) -> tuple[Watch, list[str]]:
    """Has the VM ready and the training running; returns its flags as well.

    Args:
      machine: made or not.
      flags: of the training that ran before; None the first time.
    """
    left = _ATTEMPTS if flags is None else _ATTEMPTS_AGAIN
    while True:
        try:
            num_workers = machine.make_ready(again=flags is not None)
            found, is_new = _start_or_find(machine, num_workers, flags)
        except UnreachableError as error:
            # It may be new and not listen yet, or be going, and not say so yet.
            left -= 1
            if not left:
                raise
            say(f'{error}; trying again')
            time.sleep(machine.options.poll_seconds)
        else:
            return Watch(machine, num_workers, 0 if is_new else None), found


def _start_or_find(
    machine: Vm, num_workers: int, flags: list[str] | None
) -> tuple[list[str], bool]:
    """Starts the training unless it runs or is done.

    Args:
      machine: ready.
      num_workers: how many workers it has.
      flags: of the training that was there before the VM was made again.

    Returns:
      Its flags, and whether it was started.
    """
    chosen = machine.options
    replies = machine.ask_all(job.status())
    found = next((x.flags for x in replies if x.flags is not None), None)
    named = bool(chosen.flags or chosen.workdir)
    wanted = flags or (found if found and not named else chosen.training)
    running = any(reply.state == 'running' for reply in replies)
    if running and found != wanted:
        raise UserError(
            f'another training runs on {chosen.node.name}, with {shlex.join(found)}; '
            f'end it first: {chosen.command("--stop")}'
        )
    if running:
        say(f'a training runs on {chosen.node.name} already, with {shlex.join(wanted)}')
        return wanted, False
    if found == wanted and all(reply.code == 0 for reply in replies):
        say(
            f'the training has finished, with {shlex.join(wanted)}; to train anew, '
            'name another --workdir'
        )
        return wanted, False
    _start(machine, num_workers, wanted)
    return wanted, True


def _start(machine: Vm, num_workers: int, flags: list[str]) -> None:
    if not options.in_bucket(workdir(flags)):
        say(
            f'the work folder {workdir(flags)} is on the disk of the VM, and is lost '
            'with it; --workdir=gs://BUCKET/… is not'
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, job.ARCHIVE)
        source.pack(archive)
        machine.copy_code(archive)
    say(f'starting on every worker: ./launch.sh {shlex.join(flags)}')
    missing = set(range(num_workers))
    for _ in range(_ATTEMPTS):
        # Those that have started reply once more.
        missing -= {reply.worker for reply in machine.ask_all(job.start(flags))}
        if not missing:
            return
    raise UserError(
        f'the training does not start on worker {min(missing)} of '
        f'{machine.options.node.name}; end it on the others: '
        f'{machine.options.command("--stop")} , then try the same command again'
    )
