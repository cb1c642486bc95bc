"""RandAugment: operations drawn from a fixed list, all at one magnitude.

Cubuk et al. (2020), https://arxiv.org/abs/1909.13719, with the operations, magnitudes
and arithmetic of torchvision's `RandAugment` on Pillow's images (torchvision 0.28),
https://github.com/pytorch/vision.

For each image, whichever operation is drawn, families of them are computed once: an
affine map, the identity for all that move nothing; the enhancements, which are one
blend with different images; and what remains.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, Key, UInt8

from fmnist_jax.data.augmentation import pillow
from fmnist_jax.data.augmentation.arguments import integer
from fmnist_jax.errors import UserError

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


def rand_augment(
    key: Key[Array, ''],
    image: UInt8[Array, 'h w c'],
    *,
    num_ops: Annotated[int, integer(1, len(OPERATIONS))] = 2,
    magnitude: Annotated[int, integer(0, 999)] = 9,
    num_bins: Annotated[int, integer(2, 1000)] = 31,
) -> UInt8[Array, 'h w c']:
    """Applies `num_ops` operations, each drawn anew from all of `OPERATIONS`.

    Half of the time, those that have a direction act in the other one.

    Args:
      key: of the example.
      image: grey, which `Color` leaves as it is, or of three channels.
      num_ops: how many.
      magnitude: of all of them, the number of one of the bins from 0.
      num_bins: steps from no change to the greatest.

    Raises:
      UserError: images have neither one channel nor three.
    """
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise UserError(
            "augmentation 'rand_augment' takes images of 1 or 3 channels, not of "
            f'{channels}'
        )
    strength = make_strength(magnitude, num_bins, height, width)
    draws = jax.random.randint(key, (num_ops,), 0, 2 * len(OPERATIONS), jnp.int32)
    for draw in draws:
        image = apply_operation(image, draw // 2, draw % 2, strength)
    return image


def magnitude_problem(arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with a magnitude for that many bins; None if nothing is."""
    magnitude, highest = arguments['magnitude'], arguments['num_bins'] - 1
    if magnitude <= highest:
        return None
    return f'magnitude must be at most num_bins - 1 = {highest}, not {magnitude}'


def apply_operation(
    image: UInt8[Array, 'h w c'],
    operation: Int32[Array, ''],
    opposite: Int32[Array, ''],
    strength: Strength,
) -> UInt8[Array, 'h w c']:
    """Applies one of `OPERATIONS`.

    Args:
      image: of one channel or three.
      operation: its place in the list.
      opposite: 1 for the other direction, if it has one; else 0.
      strength: see `make_strength`.
    """
    strength = jax.tree.map(jnp.asarray, strength)
    factor = strength.factors[opposite]
    moved = pillow.affine(image, strength.matrices[operation, opposite])
    results = {
        'Posterize': pillow.posterize(moved, strength.bits),
        'Solarize': pillow.solarize(moved, strength.threshold),
        'AutoContrast': pillow.autocontrast(moved),
        **dict.fromkeys(ENHANCEMENTS, _enhance(moved, operation, factor)),
    }
    cases = [results.get(name, moved) for name in OPERATIONS]
    changed = jax.lax.select_n(operation, *cases)
    # Not among the others: a look-up there, merged with them, keeps XLA from using a
    # CPU's vectors for any of them, which takes 2.4 times as long.
    return pillow.equalize(changed, operation == OPERATIONS.index('Equalize'))


def _enhance(
    image: UInt8[Array, 'h w c'],
    operation: Int32[Array, ''],
    factor: Float32[Array, '2'],
) -> UInt8[Array, 'h w c']:
    """Blends with what the enhancement makes of the image at a factor of 0."""
    grey = pillow.grey(image)
    degenerates = {
        'Brightness': jnp.zeros((1, 1, 1), jnp.int32),
        'Color': grey,
        'Contrast': pillow.rounded_mean(grey),
        'Sharpness': pillow.smooth(image),
    }
    degenerates = [jnp.broadcast_to(x, image.shape) for x in degenerates.values()]
    first = OPERATIONS.index(ENHANCEMENTS[0])
    which = (operation - first).clip(0, len(degenerates) - 1)
    return pillow.blend(jax.lax.select_n(which, *degenerates), image, factor)


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
