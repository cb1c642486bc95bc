"""Several real processes of `main` that train together on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

# The longest that starting, training and ending of these small runs may take.
_TIMEOUT = 200


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        return free.getsockname()[1]


class Processes:
    """Processes of `main`; what they print goes to files."""

    def __init__(self, flags: list[str], logs: Path, num_processes: int = 2):
        """Starts them.

        Args:
          flags: of `main`, the same for all.
          logs: a folder for what they print.
          num_processes: how many.
        """
        logs.mkdir(exist_ok=True)
        port = free_port()
        self._logs = [logs / str(number) for number in range(num_processes)]
        self._processes = []
        for number, log in enumerate(self._logs):
            command = (
                *(sys.executable, '-m', 'fmnist_jax.main', *flags),
                f'--coordinator_address=localhost:{port}',
                f'--num_processes={num_processes}',
                f'--process_id={number}',
            )
            with log.open('w') as file:
                self._processes.append(
                    subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
                )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits, while all run."""
        deadline = time.monotonic() + _TIMEOUT
        while not condition():
            for process, log in zip(self._processes, self._logs, strict=True):
                assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def send(self, number: int, name: signal.Signals) -> None:
        """Sends a signal to one of them."""
        os.kill(self._processes[number].pid, name)

    def codes(self, timeout: float = _TIMEOUT) -> list[int]:
        """Waits until all have ended; their exit codes, negative for signals."""
        deadline = time.monotonic() + timeout
        try:
            return [
                process.wait(max(0, deadline - time.monotonic()))
                for process in self._processes
            ]
        finally:
            for process in self._processes:
                process.kill()

    def printed(self, number: int) -> str:
        """What one of them has printed so far."""
        return self._logs[number].read_text()
