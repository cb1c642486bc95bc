"""Which images a report shows: those of each confusion, the worst, samples."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from fmnist_jax.reporting import pictures
from fmnist_jax.reporting.metrics import top_classes

# Classes whose probabilities go with an image; the others are the least probable.
_NUM_PROBABILITIES = 10
_LEAST = math.log(5e-4)
# Up to here, all images are shown; of larger splits, so many a cell.
_SHOW_ALL = 10_000
_PER_CELL = 200


@dataclasses.dataclass(frozen=True)
class Scored:
    """A split and what the model said of it.

    Attributes:
      images: as in the data set.
      labels: the true ones.
      log_probabilities: a row an image.
      class_names: one a label.
    """

    images: UInt8[np.ndarray, 'n h w c']
    labels: Integer[np.ndarray, ' n']
    log_probabilities: Float[np.ndarray, 'n classes']
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> Int[np.ndarray, ' n']:
        """The most probable labels."""
        return self.log_probabilities.argmax(1)

    @property
    def log_probability_of_label(self) -> Float[np.ndarray, ' n']:
        """What the model said of the true labels."""
        return self.log_probabilities[np.arange(len(self.labels)), self.labels]

    def top(self, index: int) -> list[tuple[int, float]]:
        """The most probable classes of an image with their probabilities.

        The true class is among them. Others that would be printed as 0.0 % are not.
        """
        row, own = self.log_probabilities[index], int(self.labels[index])
        first, *others = top_classes(row, _NUM_PROBABILITIES)
        shown = [first, *(x for x in others if x == own or row[x] >= _LEAST)]
        shown += [own] * (own not in shown)
        return [(label, float(np.exp(row[label]))) for label in shown]


def default_limit(count: int) -> int:
    """How many images a cell shows of a split of `count`, at most."""
    return count if count <= _SHOW_ALL else _PER_CELL


def cells(scored: Scored, shown: Sequence[int], limit: int) -> list[dict[str, Any]]:
    """The images of each cell of the confusion matrix that holds any.

    Args:
      scored: a split.
      shown: labels of the rows and columns.
      limit: images a cell, at most.

    Returns:
      For each cell, `label`, `predicted`, the number `total` of its images, and of
      those shown, the least probable to be of their own class first: a `sheet` of
      them, their places `index` in the split, and `top`, for each of them classes and
      tenths of a per cent in turn.
    """
    doubt = np.argsort(scored.log_probability_of_label, kind='stable')
    labels, predicted = scored.labels[doubt], scored.predicted[doubt]
    found = []
    for label in shown:
        of_label = labels == label
        for other in shown:
            inside = doubt[of_label & (predicted == other)]
            if not len(inside):
                continue
            places = inside[:limit].tolist()
            found.append(
                {
                    'label': label,
                    'predicted': other,
                    'total': len(inside),
                    'sheet': pictures.sheet_uri(scored.images[places]),
                    'index': places,
                    'top': [_flat(scored.top(place)) for place in places],
                }
            )
    return found


def _flat(top: Sequence[tuple[int, float]]) -> list[int]:
    return [number for label, p in top for number in (label, round(1000 * p))]


def most_wrong(scored: Scored, count: int = 24) -> list[dict[str, Any]]:
    """The misclassified images whose true class the model holds least probable.

    Returns:
      For each, `uri`, `index`, `label`, `predicted`, and what the model said of both,
      `probability` (of the label) and `confidence`.
    """
    wrong = np.flatnonzero(scored.predicted != scored.labels)
    order = np.argsort(scored.log_probability_of_label[wrong], kind='stable')
    return [
        {
            'uri': pictures.data_uri(scored.images[place]),
            'index': place,
            'label': int(scored.labels[place]),
            'predicted': int(scored.predicted[place]),
            'probability': float(np.exp(scored.log_probability_of_label[place])),
            'confidence': float(np.exp(scored.log_probabilities[place].max())),
        }
        for place in wrong[order[:count]].tolist()
    ]


def samples(
    scored: Scored, shown: Sequence[int], total: int = 120
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The first images of each class: its label, and their `uri` and `index`.

    About `total` of them, and of no class more than 12.
    """
    count = min(12, max(1, total // max(len(shown), 1)))
    for label in shown:
        places = np.flatnonzero(scored.labels == label)[:count].tolist()
        yield (
            label,
            [
                {'uri': pictures.data_uri(scored.images[place]), 'index': place}
                for place in places
            ],
        )
