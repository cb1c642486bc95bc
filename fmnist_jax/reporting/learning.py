"""What the metrics of a run's epochs say of its learning."""

from collections.abc import Sequence
from typing import Any

# A line of `metrics.jsonl`.
Line = dict[str, Any]


def best_epoch(lines: Sequence[Line]) -> int:
    """The epoch of highest validation accuracy, the earliest on ties."""
    return max(_of(lines, 'validation'), key=lambda line: line['accuracy'])['epoch']


def overfitting_onset(lines: Sequence[Line]) -> int | None:
    """The epoch of lowest validation loss, if training went on past it.

    From there on validation loss has never been as low again, while training loss has
    fallen further: what is learned is of the training images alone. None if the lowest
    is the last, or training loss has not fallen since.
    """
    validation = _of(lines, 'validation')
    lowest = min(validation, key=lambda line: line['loss'])['epoch']
    train = {line['epoch']: line['loss'] for line in _of(lines, 'train')}
    last = validation[-1]['epoch']
    return lowest if lowest < last and train[last] < train[lowest] else None


def _of(lines: Sequence[Line], split: str) -> list[Line]:
    return [line for line in lines if line['split'] == split]
