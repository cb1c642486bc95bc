"""The coordinator's end of a competitor's process."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from fmnist_jax.errors import UserError

_ROOT = Path(__file__).parent.parent
_SECONDS_TO_END = 5


class BenchmarkError(UserError):
    """The benchmark cannot go on, or what it compares is not comparable."""

    exit_code = 1


class MissingError(Exception):
    """A competitor's packages are not installed; says what could not be imported."""


@dataclasses.dataclass(frozen=True)
class Entrant:
    """Who takes part, and how it is started.

    Attributes:
      name: what it is called.
      competitor: `package.module:Class`, see `competitors`.
      python: the interpreter.
      install: what to do where it is missing.
    """

    name: str
    competitor: str
    python: str = sys.executable
    install: str = ''


class Process:
    """A running competitor that waits until it is called."""

    def __init__(self, entrant: Entrant, log: Path):
        """Starts the process; whether its packages are there shows in its first call.

        Args:
          entrant: who.
          log: the file that its messages go to.

        Raises:
          UserError: the interpreter cannot be run.
        """
        self._name = entrant.name
        self._log = log
        with log.open('w') as messages:
            try:
                self._process = subprocess.Popen(
                    [entrant.python, '-m', 'benchmarks.worker', entrant.competitor],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    text=True,
                    cwd=_ROOT,
                    env=os.environ | machine.environment(),
                    # Ctrl-C reaches the coordinator alone, which ends the others.
                    start_new_session=True,
                )
            except OSError as error:
                raise UserError(
                    f'{entrant.name}: cannot run {entrant.python!r} ({error.strerror})'
                ) from error

    @property
    def pid(self) -> int:
        """Of the process, and of the group that it leads."""
        return self._process.pid

    def call(self, method: str, **arguments: Any) -> Any:
        """Calls a method of the competitor and waits for its result.

        Raises:
          MissingError: its packages are not installed.
          BenchmarkError: it raised an exception, or its process ended.
        """
        try:
            request = {'method': method, 'arguments': arguments}
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, perhaps with a last answer.
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {'error': self._how_it_ended()}
        if 'missing' in answer:
            raise MissingError(answer['missing'])
        if 'error' in answer:
            raise BenchmarkError(f'{self._name}: {answer["error"]}')
        return answer['result']

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        last = self._log.read_text().splitlines()[-1:]
        return ': '.join([f'its process ended with exit code {code}', *last])

    def cpu_seconds(self) -> float | None:
        """Processor time that its threads have used; None where Linux does not tell."""
        try:
            stat = Path(f'/proc/{self.pid}/stat').read_text()
        except OSError:
            return None
        # After the name in brackets, fields 14 and 15 are user and system time.
        fields = stat.rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def close(self) -> None:
        """Ends the process, whatever it does, and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
