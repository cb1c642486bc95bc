"""What the metrics of a run's epochs say of its learning."""

from collections.abc import Sequence
from typing import Any

# A line of `metrics.jsonl`.
Line = dict[str, Any]


def of_split(lines: Sequence[Line], split: str) -> list[Line]:
    """The lines of a split, in the order of the epochs."""
    return [line for line in lines if line['split'] == split]


def best(lines: Sequence[Line]) -> Line:
    """The line of highest validation accuracy, the earliest on ties."""
    return max(of_split(lines, 'validation'), key=lambda line: line['accuracy'])


def overfitting_onset(lines: Sequence[Line]) -> int | None:
    """The epoch of lowest validation loss, if training went on past it.

    From there on validation loss has never been as low again, while training loss has
    fallen further: what is learned is of the training images alone. None if the lowest
    is the last, or training loss has not fallen since.
    """
    validation = of_split(lines, 'validation')
    lowest = min(validation, key=lambda line: line['loss'])['epoch']
    train = {line['epoch']: line['loss'] for line in of_split(lines, 'train')}
    last = validation[-1]['epoch']
    return lowest if lowest < last and train[last] < train[lowest] else None
