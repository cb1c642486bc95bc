"""What all competitors start from: the same examples, order and initial weights."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_FILE = 'start.npz'


@dataclasses.dataclass(frozen=True)
class Start:
    """Written by this project's competitor, read by the others.

    Attributes:
      images: uint8 [n, height, width, channels]; models see pixels / 255.
      labels: int64 [n].
      order: int64 [steps, batch], the examples of each step of an epoch.
      weights: of each layer, under its Flax name, its arrays under Flax's names.
    """

    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    weights: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def pixels(self) -> np.ndarray:
        """The images as models see them: float32, 0 to 1."""
        return self.images.astype(np.float32) / 255

    def write(self, folder: Path) -> None:
        """Writes all to `folder`."""
        weights = {
            f'weights/{layer}/{name}': array
            for layer, arrays in self.weights.items()
            for name, array in arrays.items()
        }
        np.savez(
            folder / _FILE,
            images=self.images,
            labels=self.labels,
            order=self.order,
            **weights,
        )

    @classmethod
    def read(cls, folder: Path) -> 'Start':
        """Reads what `write` wrote."""
        weights: dict[str, dict[str, np.ndarray]] = {}
        with np.load(folder / _FILE) as arrays:
            for key in arrays.files:
                if key.startswith('weights/'):
                    _, layer, name = key.split('/')
                    weights.setdefault(layer, {})[name] = arrays[key]
            return cls(arrays['images'], arrays['labels'], arrays['order'], weights)
