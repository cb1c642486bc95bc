"""A training on a Cloud TPU, from making the VM to the results."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence

from fmnist_jax.cloud import actions, dry_run, options, results
from fmnist_jax.cloud.begin import begin, workdir
from fmnist_jax.cloud.runner import say
from fmnist_jax.cloud.vm import Vm
from fmnist_jax.cloud.watch import End, Outcome

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Does what the command line says.

    Returns:
      The exit code: 0 done; that of the training if it failed; 75 it was stopped, or
      preempted too often; 130 interrupted.

    Raises:
      UserError: a mistake in the flags, or Cloud TPU refuses.
    """
    chosen = options.parse(arguments)
    if chosen.dry_run:
        print('\n'.join(dry_run.commands(chosen)))
        return 0
    # A scheduler's end of this process is a user's Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    machine = Vm(chosen)
    try:
        if chosen.action == 'stop':
            return actions.stop(machine)
        if chosen.action == 'delete':
            return actions.delete(machine)
        return _train(machine)
    except KeyboardInterrupt:
        again = './launch.sh ' + shlex.join(['tpu', *arguments])
        say(
            f'interrupted; what runs on {chosen.node.name} goes on. See it again: '
            f'{again} ; end it: {chosen.command("--stop")} ; delete the VM, which '
            f'costs money until then: {chosen.command("--delete")}'
        )
        return INTERRUPTED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _train(machine: Vm) -> int:
    chosen, restarts, flags = machine.options, 0, None
    while True:
        watch, flags = begin(machine, flags)
        outcome = watch.run()
        if outcome.end is not End.PREEMPTED:
            break
        restarts += 1
        if restarts > chosen.max_restarts:
            reason = f'{outcome.reason}, after {restarts - 1} restarts'
            outcome = Outcome(End.STOPPED, reason, outcome.code)
            break
        say(f'{outcome.reason}; starting again ({restarts} of {chosen.max_restarts})')
        if not options.in_bucket(workdir(flags)):
            say(
                'its work folder is on the disk of the VM; if that was lost, the '
                'training begins anew (--workdir=gs://… would keep it)'
            )
    return _finish(machine, outcome, workdir(flags))


def _finish(machine: Vm, outcome: Outcome, folder: str) -> int:
    """Fetches the results, and says how the training ended."""
    chosen = machine.options
    if outcome.end is End.FAILED:
        _tell_costs(machine)
        print(f'error: {outcome.reason}', file=sys.stderr)
        return outcome.code
    if outcome.end is End.STOPPED:
        say(f'{outcome.reason}; the same command goes on with the training')
        return outcome.code
    results.fetch(machine, folder)
    if chosen.delete_when_done:
        machine.delete()
    else:
        _tell_costs(machine)
    return 0


def _tell_costs(machine: Vm) -> None:
    say(
        f'{machine.options.node.name} is still there and costs money; delete it with: '
        f'{machine.delete_command()}'
    )


def exit_code(arguments: Sequence[str]) -> int:
    """As `main`; when nobody reads the output any more, the training goes on."""
    try:
        return main(arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
