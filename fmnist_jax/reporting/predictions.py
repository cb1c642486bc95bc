"""What a model says of image files, as a table and as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from fmnist_jax.reporting.console import table
from fmnist_jax.reporting.metrics import top_classes
from fmnist_jax.reporting.text import printable
from fmnist_jax.reporting.units import percent

TOP = 3


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of an image file, or why it says nothing.

    Attributes:
      file: its path, as it was named or found.
      error: why there is no image; None if there is one.
      image: as the model sees it; None if there is none.
      probabilities: one a class; None if there is no image.
    """

    file: str
    error: str | None = None
    image: UInt8[np.ndarray, 'h w c'] | None = None
    probabilities: Float[np.ndarray, ' classes'] | None = None

    def top(self) -> list[tuple[int, float]]:
        """The `TOP` most probable labels and their probabilities."""
        labels = top_classes(self.probabilities, TOP)
        return [(label, float(self.probabilities[label])) for label in labels]


def to_table(predictions: Sequence[Prediction], class_names: Sequence[str]) -> str:
    """The most probable classes of each image; files without an image are left out."""
    rows = [
        (
            printable(prediction.file),
            *(
                f'{printable(class_names[label])} {percent(probability, 1):>7}'
                for label, probability in prediction.top()
            ),
        )
        for prediction in predictions
        if prediction.error is None
    ]
    header = ('file', 'most probable', 'second', 'third')
    return table(rows, header[: 1 + min(TOP, len(class_names))])


def to_json(predictions: Sequence[Prediction], class_names: Sequence[str]) -> str:
    """A list with a line for each file: `{file, label, name, probabilities}`.

    Or `{file, error}`. `probabilities` are in the order of the labels. A file name that
    is not UTF-8 is written as `os.fsdecode` gives it.
    """
    lines = [json.dumps(_entry(p, class_names), allow_nan=False) for p in predictions]
    return '[\n' + ',\n'.join(lines) + '\n]'


def _entry(prediction: Prediction, class_names: Sequence[str]) -> dict[str, Any]:
    if prediction.error is not None:
        return {'file': prediction.file, 'error': prediction.error}
    label, _ = prediction.top()[0]
    return {
        'file': prediction.file,
        'label': label,
        'name': class_names[label],
        'probabilities': prediction.probabilities.tolist(),
    }
