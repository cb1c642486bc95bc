"""Operations that hide a part of an image."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from fmnist_jax.data.augmentation.arguments import (
    Pixels,
    Probability,
    interval,
    number,
    one_of,
)
from fmnist_jax.data.augmentation.rectangles import Rectangle

Area = Annotated[tuple[float, float], interval(number(0, 1))]
Ratio = Annotated[tuple[float, float], interval(number(0, 1000, above=True))]
Value = Annotated[Literal['black', 'random'], one_of('black', 'random')]

# Rectangles that are drawn, of which the first that fits is erased.
_ATTEMPTS = 10


def random_erasing(
    key: Key[Array, ''],
    image: UInt8[Array, 'h w c'],
    *,
    probability: Probability = 0.5,
    area: Area = (0.02, 0.33),
    ratio: Ratio = (0.3, 3.3),
    value: Value = 'black',
) -> UInt8[Array, 'h w c']:
    """Erases a rectangle with this probability.

    Zhong et al. (2020), https://arxiv.org/abs/1708.04896; drawn as torchvision's
    `RandomErasing` draws it: ratios on a logarithmic scale, and if none of ten
    rectangles is smaller than the image both ways, nothing is erased.

    Args:
      key: of the example.
      image: to erase from.
      probability: of erasing.
      area: the least and the largest share of the image.
      ratio: the least and the largest height over width.
      value: what replaces it: black, or pixels drawn from 0 to 255.
    """
    height, width, _ = image.shape
    apply_key, rectangle_key, pixels_key = jax.random.split(key, 3)
    applied = jax.random.uniform(apply_key, (), jnp.float32) < probability
    erased = draw_rectangle(rectangle_key, height, width, area, ratio)
    pixels = jnp.zeros(image.shape, jnp.uint8)
    if value == 'random':
        pixels = jax.random.bits(pixels_key, image.shape, jnp.uint8)
    return jnp.where(applied & erased.mask(height, width), pixels, image)


def draw_rectangle(
    key: Key[Array, ''],
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> Rectangle:
    """Draws what `random_erasing` erases of an image of this size; it may be empty."""
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    pixels = jax.random.uniform(area_key, (_ATTEMPTS,), jnp.float32, *area)
    pixels *= height * width
    low, high = jnp.log(jnp.array(ratio, jnp.float32))
    ratios = jnp.exp(
        jax.random.uniform(ratio_key, (_ATTEMPTS,), jnp.float32, low, high)
    )
    heights = jnp.round(jnp.sqrt(pixels * ratios)).astype(jnp.int32)
    widths = jnp.round(jnp.sqrt(pixels / ratios)).astype(jnp.int32)
    fits = (heights < height) & (widths < width)
    first = jnp.argmax(fits)
    size = jnp.where(fits[first], jnp.stack([heights[first], widths[first]]), 0)
    free = jnp.array([height, width], jnp.int32) - size
    top, left = jax.random.randint(place_key, (2,), 0, free + 1, jnp.int32)
    return Rectangle(top, left, top + size[0], left + size[1])


def cutout(
    key: Key[Array, ''], image: UInt8[Array, 'h w c'], *, size: Pixels = 8
) -> UInt8[Array, 'h w c']:
    """Blackens a square of this side, whose middle may be any pixel.

    DeVries and Taylor (2017), https://arxiv.org/abs/1708.04552: what is beyond the
    image is cut off.
    """
    height, width, _ = image.shape
    limits = jnp.array([height, width], jnp.int32)
    row, column = jax.random.randint(key, (2,), 0, limits, jnp.int32)
    top, left = row - size // 2, column - size // 2
    hidden = Rectangle(top, left, top + size, left + size)
    return jnp.where(hidden.mask(height, width), jnp.uint8(0), image)
