"""What a magnitude of RandAugment means: torchvision's, for Pillow's arithmetic.

torchvision 0.28, https://github.com/pytorch/vision, `RandAugment`.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float32, Int32

from fmnist_jax.data.augmentation import pillow

MOVES = ('ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate')
ENHANCEMENTS = ('Brightness', 'Color', 'Contrast', 'Sharpness')
OTHERS = ('Posterize', 'Solarize', 'AutoContrast', 'Equalize')
OPERATIONS = ('Identity', *MOVES, *ENHANCEMENTS, *OTHERS)


class Strength(NamedTuple):
    """What a magnitude means for each operation, on images of one size.

    Attributes:
      matrices: of each operation, as it is and in the other direction; see
        `pillow.fixed_point`.
      factors: of the enhancements, stronger and weaker; see `pillow.split_factor`.
      bits: that `Posterize` keeps.
      threshold: of `Solarize`.
    """

    matrices: Int32[np.ndarray | Array, 'operations 2 6']
    factors: Float32[np.ndarray | Array, '2 2']
    bits: Int32[np.ndarray | Array, '']
    threshold: Float32[np.ndarray | Array, '']


def make_strength(magnitude: int, num_bins: int, height: int, width: int) -> Strength:
    """What torchvision's bin of a magnitude means, for images of this size."""

    def bin_of(first: float | int, last: float | int) -> float:
        return _linspace(first, last, num_bins)[magnitude].item()

    shear, degrees, change = bin_of(0, 0.3), bin_of(0, 30), bin_of(0, 0.9)
    right, down = (int(bin_of(0, 150 / 331 * side)) for side in (width, height))
    moves = []
    for sign in (1, -1):
        slope = sign * math.tan(math.radians(math.degrees(math.atan(shear))))
        moves.append(
            {
                'ShearX': (1, slope, 0, 0, 1, 0),
                'ShearY': (1, 0, 0, slope, 1, 0),
                'TranslateX': (1, 0, -sign * right, 0, 1, 0),
                'TranslateY': (1, 0, 0, 0, 1, -sign * down),
                'Rotate': _rotation(sign * degrees, height, width),
            }
        )
    identity = (1, 0, 0, 0, 1, 0)
    return Strength(
        matrices=np.array(
            [
                [pillow.fixed_point(directed.get(name, identity)) for directed in moves]
                for name in OPERATIONS
            ]
        ),
        factors=np.array([pillow.split_factor(1 + s * change) for s in (1, -1)]),
        bits=np.array(8 - round(magnitude / ((num_bins - 1) / 4)), np.int32),
        threshold=np.array(bin_of(255, 0), np.float32),
    )


def _rotation(degrees: float, height: int, width: int) -> tuple[float, ...]:
    """Counter-clockwise, about the middle, as `Image.rotate` does it."""
    x, y = width / 2, height / 2
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def _linspace(
    first: float | int, last: float | int, number: int
) -> Float32[np.ndarray, ' number']:
    """`torch.linspace`, which counts from both ends to the middle."""
    first, last = np.float32(first), np.float32(last)
    step = np.float64((last - first) / np.float32(number - 1))
    i = np.arange(number)
    from_first = np.float64(first) + step * i
    from_last = np.float64(last) - step * (number - 1 - i)
    return np.where(i < number // 2, from_first, from_last).astype(np.float32)
