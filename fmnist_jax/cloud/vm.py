"""The TPU VM: made if absent, made again after a preemption, asked, removed."""

import json
import time
from pathlib import Path
from typing import Any

from fmnist_jax.cloud import failures, gcloud, job
from fmnist_jax.cloud.failures import Kind
from fmnist_jax.cloud.options import Options
from fmnist_jax.cloud.runner import Result, run, say
from fmnist_jax.errors import UserError

# States of a TPU node: https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes
READY = 'READY'
GONE = ('PREEMPTED', 'TERMINATED')
PASSING = (
    'CREATING',
    'STARTING',
    'RESTARTING',
    'REIMAGING',
    'REPAIRING',
    'UNHIDING',
    'DELETING',
    'STOPPING',
    'HIDING',
)
STOPPED = 'STOPPED'
# Seconds: a question, a copy, a change of state.
QUESTION = 180
_COPY = 900
_CHANGE = 3600
# Looks that are left out between two requests for capacity.
_CAPACITY_WAIT = 6


class UnreachableError(UserError):
    """The workers do not answer, for now."""


class Vm:
    """One TPU VM.

    Attributes:
      options: which, and how to make it.
    """

    def __init__(self, options: Options):
        self.options = options
        self._node = options.node
        self._name = f'TPU VM {options.node.name}'

    def describe(self) -> dict[str, Any] | None:
        """What Cloud TPU knows of it; None if it does not exist.

        Raises:
          UserError: Cloud TPU does not say.
        """
        done = run(gcloud.describe(self._node), QUESTION)
        if done.code == 0:
            return json.loads(done.output)
        if failures.kind(done.errors) is Kind.ABSENT:
            return None
        raise failures.explain(f'look for {self._name}', done.errors)

    def make_ready(self, *, again: bool = False) -> int:
        """Makes it, starts it, or waits for it; returns how many workers it has.

        Args:
          again: whether it has been there, so that capacity is waited for.

        Raises:
          UserError: it cannot be made, has another type, or is in a bad state.
        """
        said, until = None, 0.0
        while True:
            known = self.describe()
            state = known['state'] if known else 'absent'
            if state == READY:
                self._check_type(known)
                return num_workers(known)
            if state == 'absent':
                self._create({}, again)
            elif state in GONE:
                self._check_type(known)
                say(f'{self._name} is {state}: deleting it, and making it again')
                self._change(gcloud.delete(self._node), 'delete')
                self._create(known, again)
            elif state == STOPPED:
                self._check_type(known)
                say(f'{self._name} is {state}: starting it')
                self._change(gcloud.start(self._node), 'start')
            elif state not in PASSING:
                raise UserError(
                    f'{self._name} is in state {state}, which passes neither by itself '
                    f'nor by starting it; delete it with: {self.delete_command()}'
                )
            elif state != said:
                say(f'{self._name} is {state}: waiting')
                said, until = state, time.monotonic() + _CHANGE
            elif time.monotonic() > until:
                raise UserError(f'{self._name} is still {state} after an hour')
            time.sleep(self.options.poll_seconds if state in PASSING else 0)

    def delete_command(self) -> str:
        """What a user types to delete it."""
        return self.options.command('--delete')

    def delete(self) -> None:
        """Removes it."""
        say(f'deleting {self._name}')
        self._change(gcloud.delete(self._node), 'delete')

    def copy_code(self, archive: Path) -> None:
        """Puts the code on every worker.

        Raises:
          UnreachableError: it cannot.
        """
        say('copying the code to every worker')
        for command in (
            gcloud.copy_to(self._node, str(archive), job.ARCHIVE),
            gcloud.ssh(self._node, job.UNPACK),
        ):
            done = run(command, _COPY)
            if done.code:
                raise self._unreachable('copy the code to', done)

    def ask(
        self, question: str, worker: int = 0
    ) -> tuple[dict[str, Any] | None, Result]:
        """A worker's reply, None if there was none, and how asking went."""
        done = run(gcloud.ssh(self._node, question, str(worker)), QUESTION)
        replies = job.parse(done.output) if done.code == 0 else []
        return (replies[-1] if replies else None), done

    def ask_all(self, question: str) -> list[job.Reply]:
        """The replies of those workers that gave one, of which there is at least one.

        Raises:
          UnreachableError: there was none.
        """
        done = run(gcloud.ssh(self._node, question), QUESTION)
        replies = [job.Reply(**reply) for reply in job.parse(done.output)]
        if not replies:
            raise self._unreachable('reach', done)
        return sorted(replies, key=lambda reply: reply.worker)

    def copy_results(self, archive: Path) -> None:
        """Gets what `worker.pack` packed on worker 0."""
        command = gcloud.copy_from(self._node, job.RESULTS, str(archive))
        self._expect(run(command, _COPY), 'copy the results from')

    def _unreachable(self, verb: str, done: Result) -> UnreachableError:
        return UnreachableError(
            str(failures.explain(f'{verb} {self._name}', done.errors))
        )

    def _create(self, known: dict[str, Any], again: bool) -> None:
        """Makes it as the options say, or else as it was."""
        options, scheduling = self.options, known.get('schedulingConfig', {})
        kind = _type(known) or options.accelerator_type
        version = options.version or known.get('runtimeVersion')
        version = version or gcloud.runtime_version(kind)
        spot = options.spot or any(scheduling.get(x) for x in ('spot', 'preemptible'))
        command = gcloud.create(self._node, kind, version, spot)
        kind += ', spot' if spot else ''
        say(f'making {self._name} ({kind}) in {self._node.zone}: some minutes')
        waiting = False
        while True:
            done = run(command, _CHANGE)
            if done.code == 0:
                return
            scarce = failures.kind(done.errors) is Kind.CAPACITY
            if not (again and scarce):
                raise failures.explain(f'make {self._name}', done.errors)
            if not waiting:
                say(f'{failures.message(done.errors)}; trying until there is some')
                waiting = True
            time.sleep(_CAPACITY_WAIT * self.options.poll_seconds)

    def _check_type(self, known: dict[str, Any]) -> None:
        there, wanted = _type(known), self.options.type
        if wanted and there != wanted:
            raise UserError(
                f'{self._name} exists with the type {there}, not {wanted}; choose '
                f'another NAME, leave --type out, or delete it: {self.delete_command()}'
            )

    def _change(self, command: list[str], verb: str) -> None:
        self._expect(run(command, _CHANGE), verb)

    def _expect(self, done: Result, verb: str) -> None:
        if done.code:
            raise failures.explain(f'{verb} {self._name}', done.errors)


def num_workers(known: dict[str, Any]) -> int:
    """Of a VM that `describe` tells of."""
    return max(1, len(known.get('networkEndpoints', ())))


def _type(known: dict[str, Any]) -> str:
    return known.get('acceleratorType', '').rpartition('/')[2]
