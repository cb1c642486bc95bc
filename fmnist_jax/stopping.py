"""Signals that stop a long job: the first asks it to stop, a second does not wait."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType

# EX_TEMPFAIL of sysexits.h, which schedulers take for: start it again.
EXIT_CODE = 75
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOHUP = (signal.SIGHUP, signal.SIG_IGN)
# Seconds in which a second signal is taken for the first once more: a scheduler sends
# it to every process of a job, and whatever started this one may pass it on.
_SAME_SIGNAL = 1.0


class Stopped(BaseException):
    """A signal stopped the program; what is saved can be gone on from.

    Like `KeyboardInterrupt`, it is none of the exceptions that programs mend.
    """


class StopSignals:
    """Notices SIGTERM, SIGINT and SIGHUP while it is entered.

    The first raises `Stopped` where the program stands or, while that is `deferred`, is
    kept for whoever asks `is_set`. Another, a second later or more, ends the process at
    once. Where it has raised `Stopped`, nothing derived from `Exception` leaves it.

    SIGHUP, which comes when a terminal is closed, stays ignored where it was, as
    `nohup` has it. What is printed to a terminal that is gone goes nowhere.
    """

    def __init__(self):
        self._name: str | None = None
        self._came_at = 0.0
        self._is_deferred = False
        self._has_raised = False
        self._before = {}
        self._terminals: list[int] = []

    def __enter__(self) -> 'StopSignals':
        # Python lets no other thread have signals.
        if threading.current_thread() is threading.main_thread():
            self._terminals = [output for output in (1, 2) if os.isatty(output)]
            for number in _SIGNALS:
                if (number, signal.getsignal(number)) != _NOHUP:
                    self._before[number] = signal.signal(number, self._notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # An import or a callback out of C++ may have made another exception of it.
        if self._has_raised and isinstance(error, Exception):
            raise self._stopped() from error

    def is_set(self) -> bool:
        """Whether a signal has come."""
        return self._name is not None

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it, signals are kept: what is under way asks `is_set` and ends well.

        Raises:
          Stopped: a signal had come before.
        """
        self._is_deferred = True
        try:
            if self._name is not None:
                raise self._stopped()
            yield
        finally:
            self._is_deferred = False

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._leave_lost_terminals()
        if self._name is not None:
            if time.monotonic() - self._came_at >= _SAME_SIGNAL:
                os._exit(EXIT_CODE)
            return
        self._name, self._came_at = signal.Signals(number).name, time.monotonic()
        if not self._is_deferred:
            self._has_raised = True
            raise self._stopped()
        # Whatever prints may have been interrupted while it was printing; and that
        # nobody reads any more must not raise in the midst of an update.
        with contextlib.suppress(OSError):
            os.write(2, f'{self._name}: stopping after a checkpoint\n'.encode())

    def _leave_lost_terminals(self) -> None:
        # Python would fail at every line that it prints there.
        for output in self._terminals:
            if not os.isatty(output):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, output)
                os.close(nowhere)

    def _stopped(self) -> Stopped:
        return Stopped(f'stopped by {self._name}')
