"""What is known of a run besides its state, and travels with it: its metrics so far."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from fmnist_jax.reporting import learning


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint holds besides the train state.

    Attributes:
      metrics: the lines of `metrics.jsonl` so far.
      epoch_seconds: time spent training in the epoch that is under way.
    """

    metrics: Sequence[dict[str, Any]] = ()
    epoch_seconds: float = 0.0

    def after(self, seconds: float) -> 'Record':
        """With so many more seconds of training in the epoch that is under way."""
        return Record(self.metrics, self.epoch_seconds + seconds)

    def with_epoch(self, *lines: dict[str, Any]) -> 'Record':
        """With the metrics of an epoch that has ended; the next is under way."""
        return Record((*self.metrics, *lines))

    def best_step(self, among: Collection[int] | None = None) -> int | None:
        """The step of highest validation accuracy, the earliest on ties.

        Args:
          among: steps to choose from; None for all.
        """
        lines = [x for x in self.metrics if among is None or x['step'] in among]
        if not learning.of_split(lines, 'validation'):
            return None
        return learning.best(lines)['step']
