"""Ending a training on a TPU VM, and the VM."""

import shlex

from fmnist_jax.cloud import gcloud, job, options, results, vm
from fmnist_jax.cloud.begin import workdir
from fmnist_jax.cloud.job import Reply
from fmnist_jax.cloud.runner import say
from fmnist_jax.cloud.vm import UnreachableError, Vm
from fmnist_jax.errors import UserError


def stop(machine: Vm) -> int:
    """Ends a training, which writes a checkpoint; returns the exit code.

    Raises:
      UserError: there is no VM, or it is not known that none runs there now.
    """
    known = machine.describe()
    if known is None:
        raise UserError(f'there is no TPU VM {machine.options.node.name}')
    say('asking the training to write a checkpoint and end')
    replies = machine.ask_all(job.stop())
    ends = ', '.join(map(_end_of, replies))
    missing = max(0, vm.num_workers(known) - len(replies))
    if missing or any(reply.state == 'running' for reply in replies):
        silent = f'; {missing} did not reply' if missing else ''
        raise UserError(
            f'the training may still run on {machine.options.node.name} ({ends}'
            f'{silent}); try the same command again'
        )
    say(f'no training runs on {machine.options.node.name} ({ends})')
    say(f'the VM costs money; delete it with: {machine.delete_command()}')
    return 0


def _end_of(reply: Reply) -> str:
    if reply.state == 'absent':
        return 'a worker without a training'
    how = 'was killed' if reply.code is None else f'exit code {reply.code}'
    how = 'still runs' if reply.state == 'running' else how
    return f'worker {reply.worker}: {how}'


def delete(machine: Vm) -> int:
    """Deletes the VM, after fetching what would be lost; returns the exit code.

    Raises:
      UserError: a training runs there, or the results cannot be had.
    """
    name = machine.options.node.name
    known = machine.describe()
    if known is None:
        say(f'there is no TPU VM {name}')
        return 0
    if known['state'] == vm.STOPPED:
        raise UserError(
            f'TPU VM {name} is STOPPED, so that results on its disk cannot be fetched; '
            f'start it: {shlex.join(gcloud.start(machine.options.node))} , or '
            f'{_without_results(machine)}'
        )
    if known['state'] == vm.READY:
        try:
            _keep_results(machine)
        except UnreachableError as error:
            raise UserError(f'{error}; to {_without_results(machine)}') from error
    machine.delete()
    return 0


def _without_results(machine: Vm) -> str:
    command = shlex.join(gcloud.delete(machine.options.node))
    return f'delete it with all that is on its disk: {command}'


def _keep_results(machine: Vm) -> None:
    """Fetches what would be lost with the VM.

    Raises:
      UserError: a training runs there, or the results cannot be had.
    """
    replies = machine.ask_all(job.status())
    if any(reply.state == 'running' for reply in replies):
        raise UserError(
            f'a training runs on {machine.options.node.name}; end it first: '
            f'{machine.options.command("--stop")}'
        )
    flags = next((reply.flags for reply in replies if reply.flags), None)
    if flags and not options.in_bucket(workdir(flags)):
        results.fetch(machine, workdir(flags))
