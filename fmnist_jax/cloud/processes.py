"""Several processes of `main` on this machine, joined by JAX's distributed runtime."""

import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fmnist_jax.cloud.runner import REQUEUE, say
from fmnist_jax.cloud.source import ROOT
from fmnist_jax.errors import UserError

# Seconds after the first process failed: JAX's runtime ends the others itself when a
# heartbeat is missing for 20 s; then they are asked to end, then ended.
_TERMINATE_AFTER = 35.0
_KILL_AFTER = 50.0
_LOOK_EVERY = 0.05


def main(arguments: Sequence[str]) -> int:
    """Runs `main` in N processes: N, then the flags of the training.

    Returns:
      The exit code: 0 when all have ended well, else that of the first that did not;
      128 plus the signal's number if a signal ended it.

    Raises:
      UserError: N is no number of processes.
    """
    number, flags = _parse(arguments)
    address = f'127.0.0.1:{_free_port()}'
    words = [sys.executable, '-m', 'fmnist_jax.main', *flags]
    words += [f'--coordinator_address={address}', f'--num_processes={number}']
    commands = [[*words, f'--process_id={index}'] for index in range(number)]
    logs = Path(tempfile.mkdtemp(prefix='fmnist_jax-processes-'))
    say(f'{number} processes; the output of all but the first is in {logs}/N.log')
    return Group(commands, logs).wait()


def _parse(arguments: Sequence[str]) -> tuple[int, list[str]]:
    text = arguments[0] if arguments else 'nothing'
    if not re.fullmatch('[1-9][0-9]{0,3}', text):
        raise UserError(
            f'processes needs their number first, not {text}: ./launch.sh processes 2 '
            '--config=FILE'
        )
    return int(text), list(arguments[1:])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


class Group:
    """Processes that are of use only together."""

    def __init__(self, commands: Sequence[Sequence[str]], logs: Path):
        """Starts them.

        Args:
          commands: of the processes.
          logs: a folder for the output of all but the first.

        Raises:
          UserError: one cannot be started; those before it are ended.
        """
        self._logs = logs
        self._signals = 0
        self._processes: list[subprocess.Popen] = []
        # Before they start: one must not come between.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # What `nohup` has this process ignore, it is to outlive.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        try:
            for index, command in enumerate(commands):
                self._processes.append(self._start(index, command))
        except OSError as error:
            self._send(signal.SIGKILL)
            raise UserError(
                f'cannot start {len(commands)} processes: {error.strerror}'
            ) from error

    def _start(self, index: int, command: Sequence[str]) -> subprocess.Popen:
        with open(self._log(index), 'wb') as log:
            output = log if index else None
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches them once: passed on.
                process_group=0,
            )

    def wait(self) -> int:
        """Waits for all; if one fails, ends the others; returns the exit code."""
        failed, since = None, 0.0
        running = True
        while running:
            time.sleep(_LOOK_EVERY)
            codes = [process.poll() for process in self._processes]
            running = None in codes
            if failed is None and any(codes):
                failed, since = _first(codes), time.monotonic()
            if failed is not None and running:
                self._hurry(time.monotonic() - since)
        if failed is None:
            return 0
        code = self._processes[failed].returncode
        print(self._tell(failed, code), file=sys.stderr)
        return code if code > 0 else 128 - code

    def _hurry(self, waited: float) -> None:
        if waited >= _KILL_AFTER:
            self._send(signal.SIGKILL)
        elif waited >= _TERMINATE_AFTER and not self._signals:
            self._signals = 1
            self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)  # Nothing, to those that have ended.

    def _pass_on(self, number: int, _: object) -> None:
        # JAX's runtime notices SIGTERM, and has all processes stop at the same step.
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals == 1:
            say(f'{name}: the processes stop after a checkpoint; once more ends them')
        self._send(signal.SIGTERM if self._signals == 1 else signal.SIGKILL)

    def _log(self, index: int) -> Path:
        return self._logs / f'{index}.log'

    def _tell(self, index: int, code: int) -> str:
        """One line: which process ended how, and what to do."""
        if code == REQUEUE:
            return (
                f'process {index} was stopped (exit code {code}); run the same command '
                'again to go on with the training'
            )
        how = (
            f'ended with exit code {code}'
            if code > 0
            else f'was ended by {_name(-code)}'
        )
        where = (
            f'its output is in {self._log(index)}' if index else 'see its output above'
        )
        mend = 'mend what it says, then ' if code in (2, 3) else ''
        return (
            f'error: process {index} {how}, so the others were ended; {where}; {mend}'
            'run the same command again to go on with the training'
        )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'


def _first(codes: Sequence[int | None]) -> int:
    """The process that failed first, of those that failed between two looks.

    One that misses another is ended by the runtime, with SIGABRT, or ends as if it had
    been asked to.
    """
    failed = [index for index, code in enumerate(codes) if code]
    later = (-signal.SIGABRT, REQUEUE)
    return min(failed, key=lambda index: (codes[index] in later, index))
