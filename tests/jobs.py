"""A real process of a script, watched and signalled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conftest import ROOT


class Job:
    """A script that runs; what it prints is added to a file."""

    def __init__(
        self,
        log: Path,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ):
        """Starts `python -m module`, from the checkout's root.

        Args:
          log: the file.
          module: the script's.
          *arguments: its flags.
          environment: variables besides this process's own.
        """
        self._log = log
        with log.open('a') as file:
            self._process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**os.environ, **(environment or {})},
            )

    @property
    def printed(self) -> str:
        """What is in the file."""
        return self._log.read_text()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits, while the script runs."""
        deadline = time.monotonic() + 120
        while not condition():
            assert not self.has_ended, self.printed
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def send(self, name: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(name)

    def kill(self) -> None:
        """Kills it, which it cannot notice."""
        assert not self.has_ended, f'it ended before: {self.printed}'
        self._process.kill()
        self._process.wait()

    def code(self, timeout: float = 240) -> int:
        """Waits for its end; the exit code, negative for a signal."""
        try:
            return self._process.wait(timeout)
        finally:
            self._process.kill()
