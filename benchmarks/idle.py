"""Whether competitors that wait leave the processor alone."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping


class IdleWatch:
    """Adds up the processor time that each uses while another has its turn."""

    def __init__(self, cpu_seconds: Mapping[str, Callable[[], float | None]]):
        """Nothing has been used yet.

        Args:
          cpu_seconds: for each name, what tells its processor time until now; None
            where that is not known.
        """
        self._cpu_seconds = cpu_seconds
        self._used = dict.fromkeys(cpu_seconds, 0.0)
        self._waited = dict.fromkeys(cpu_seconds, 0.0)

    @contextlib.contextmanager
    def turn_of(self, name: str) -> Iterator[None]:
        """All but this one should be idle within."""
        others = {k: tell for k, tell in self._cpu_seconds.items() if k != name}
        before = {other: tell() for other, tell in others.items()}
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        for other, tell in others.items():
            if before[other] is not None:
                self._used[other] += tell() - before[other]
                self._waited[other] += seconds

    def shares(self) -> dict[str, float]:
        """Of a core, while it waited, by name; without those not known."""
        return {
            name: self._used[name] / waited
            for name, waited in self._waited.items()
            if waited
        }
