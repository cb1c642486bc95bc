"""Follows a training on a TPU VM to its end, whatever happens to the connection."""

import dataclasses
import enum
import sys
import time

from fmnist_jax.cloud import failures, job, vm
from fmnist_jax.cloud.job import Reply
from fmnist_jax.cloud.runner import REQUEUE, say
from fmnist_jax.cloud.vm import Vm
from fmnist_jax.errors import UserError

# Seconds between looks at all workers, and that the others have to end after one has
# failed: JAX's runtime ends them when the heartbeat of one is missing for 20 s.
_ALL_WORKERS = 60
_GRACE = 90
# Looks after which a broken connection is told again.
_TELL_AGAIN = 60
# Lines of output that are shown of a worker that failed.
_LINES = 20


class End(enum.Enum):
    """How a training ended."""

    DONE = enum.auto()
    STOPPED = enum.auto()
    FAILED = enum.auto()
    # To be started again: the VM is gone, or the training was asked to end by it.
    PREEMPTED = enum.auto()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a training.

    Attributes:
      end: which.
      reason: what to tell.
      code: the exit code to end with, if the training is not started again.
      worker: which failed.
    """

    end: End
    reason: str = ''
    code: int = 0
    worker: int = 0


class Watch:
    """Looks at one training until it has ended."""

    def __init__(self, machine: Vm, num_workers: int, offset: int | None):
        """Prepares.

        Args:
          machine: on which the training was started.
          num_workers: how many workers it has.
          offset: the byte of the output to begin with; None for near its end.
        """
        self._vm = machine
        self._num_workers = num_workers
        self._offset = -1 if offset is None else offset
        self._lost = 0
        self._looked = time.monotonic()
        self._first_end: float | None = None

    def run(self) -> Outcome:
        """Shows worker 0's output until the training ends."""
        while True:
            reply, done = self._vm.ask(job.status(self._offset))
            if reply is None:
                if outcome := self._when_lost(done.errors):
                    return outcome
            else:
                self._found()
                if self._show(Reply(**reply)):
                    continue
                ended = reply['state'] != 'running'
                if (ended or self._is_time()) and (outcome := self._look_at_all()):
                    return outcome
            time.sleep(self._vm.options.poll_seconds)

    def _show(self, reply: Reply) -> bool:
        """Passes output on; whether there is more of it already."""
        sys.stdout.write(reply.log)
        sys.stdout.flush()
        more = bool(reply.log) and reply.offset < reply.size
        self._offset = reply.offset
        return more and reply.state != 'running'

    def _is_time(self) -> bool:
        return time.monotonic() - self._looked >= _ALL_WORKERS or bool(self._first_end)

    def _look_at_all(self) -> Outcome | None:
        """The outcome, once every worker has ended or had the time to."""
        self._looked = time.monotonic()
        try:
            replies = self._vm.ask_all(job.status())
            ended = [x for x in replies if x.state != 'running']
            running = [x for x in replies if x.state == 'running']
            if running and all(x.code == 0 for x in ended):
                # Who ends well has waited for the others, or leaves the rest to them.
                self._first_end = None
                return None
            self._first_end = self._first_end or time.monotonic()
            if not running and len(replies) == self._num_workers:
                return self._judge(replies)
            if time.monotonic() - self._first_end < _GRACE:
                return None
            if running:
                names = ', '.join(str(reply.worker) for reply in running)
                say(f'ending the others: workers {names}')
                self._vm.ask_all(job.stop())
        except UserError:
            return None  # The connection; the next look at worker 0 will tell.
        # How those that were running end now says nothing of why.
        return self._judge(ended)

    def _judge(self, replies: list[Reply]) -> Outcome:
        outcome = judge(replies)
        if outcome.end is not End.FAILED:
            return outcome
        asked, _ = self._vm.ask(job.status(-1), outcome.worker)
        lines = [x for x in (asked or {}).get('log', '').splitlines() if x.strip()]
        if outcome.worker != 0:  # The output of worker 0 has been shown.
            before = ''.join(f'\n  {line}' for line in lines[-_LINES:-1])
            say(f'the last lines of worker {outcome.worker}:{before}')
        last = f': {lines[-1].strip()}' if lines else ''
        return dataclasses.replace(outcome, reason=outcome.reason + last)

    def _found(self) -> None:
        if self._lost:
            say('connected again')
        self._lost = 0

    def _when_lost(self, errors: str) -> Outcome | None:
        """Whether the VM is gone, or only the connection."""
        try:
            known = self._vm.describe()
        except UserError as error:
            known, errors = {'state': None}, str(error)
        name = self._vm.options.node.name
        if known is None:
            raise UserError(
                f'the TPU VM {name} was deleted while the training ran; the same '
                'command makes it again'
            )
        state = known['state']
        if state not in (None, vm.READY) and state not in vm.PASSING:
            return Outcome(End.PREEMPTED, f'the VM is {state}', REQUEUE)
        if self._lost % _TELL_AGAIN == 0:
            say(
                f'cannot reach {name} ({failures.message(errors)}); the training goes '
                'on there, trying again'
            )
        self._lost += 1
        return None


def judge(replies: list[Reply]) -> Outcome:
    """What the ends of a training's processes come to."""
    bad = [reply for reply in replies if reply.code != 0]
    if not bad:
        return Outcome(End.DONE)
    if any(reply.stopped for reply in replies):
        return Outcome(End.STOPPED, 'the training was stopped', REQUEUE)
    # The runtime ends the others of a process that failed, so that the first tells why.
    first = min(bad, key=lambda reply: reply.time or 0)
    if first.code is None:
        reason = f'worker {first.worker} was restarted'
        return Outcome(End.PREEMPTED, reason, REQUEUE)
    if first.code == REQUEUE:
        reason = f'worker {first.worker} was asked to end'
        return Outcome(End.PREEMPTED, reason, REQUEUE)
    reason = f'worker {first.worker} ended with exit code {first.code}'
    return Outcome(End.FAILED, reason, first.code, first.worker)
