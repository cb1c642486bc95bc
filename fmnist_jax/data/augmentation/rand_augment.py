"""RandAugment: operations drawn from a fixed list, all at one magnitude.

Cubuk et al. (2020), https://arxiv.org/abs/1909.13719, with the operations, magnitudes
and arithmetic of torchvision's `RandAugment` on Pillow's images (torchvision 0.28),
https://github.com/pytorch/vision.

For each image, whichever operation is drawn, families of them are computed once: an
affine map, the identity for all that move nothing; the enhancements, which are one
blend with different images; and what remains.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Key, UInt8

from fmnist_jax.data.augmentation import pillow
from fmnist_jax.data.augmentation.arguments import integer
from fmnist_jax.data.augmentation.strength import (
    ENHANCEMENTS,
    OPERATIONS,
    Strength,
    make_strength,
)
from fmnist_jax.errors import UserError


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
