"""Pillow's image operations, pixel for pixel, on the device.

Sources: Pillow's ImageEnhance, ImageOps and libImaging (Blend.c, Filter.c, Geometry.c),
https://github.com/python-pillow/Pillow. What is rounded there is rounded here at the
same place, so that the same parameters give the same pixels.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt8


def fixed_point(matrix: Sequence[float | int]) -> Int32[np.ndarray, '6']:
    """An affine matrix as Pillow computes with it: in units of 1/65536 pixel.

    Args:
      matrix: a, b, c, d, e, f: what is shown at (x, y) comes from
        (a x + b y + c, d x + e y + f), where pixel centres are at halves.
    """
    a, b, c, d, e, f = matrix
    from_centres = (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    return np.array([math.floor(x * 65536 + 0.5) for x in from_centres], np.int32)


def affine(
    image: UInt8[Array, 'h w c'], matrix: Int32[Array | np.ndarray, '6']
) -> UInt8[Array, 'h w c']:
    """`Image.transform` with AFFINE and NEAREST; black beyond the image.

    Args:
      image: a side of less than 32,768 pixels.
      matrix: from `fixed_point`.
    """
    height, width, channels = image.shape
    y = jnp.arange(height, dtype=jnp.int32)[:, None]
    x = jnp.arange(width, dtype=jnp.int32)
    columns = (matrix[0] * x + matrix[1] * y + matrix[2]) >> 16
    rows = (matrix[3] * x + matrix[4] * y + matrix[5]) >> 16
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = jnp.where(inside, rows * width + columns, 0)
    pixels = image.reshape(height * width, channels)
    moved = pixels.at[places].get(mode='promise_in_bounds')
    return jnp.where(inside[..., None], moved, jnp.uint8(0))


def split_factor(factor: float) -> Float32[np.ndarray, '2']:
    """A factor as `blend` takes it: the sum of its upper and its lower 12 bits."""
    upper = (np.float32(factor).view(np.int32) & -(1 << 12)).view(np.float32)
    return np.array([upper, np.float32(factor) - upper])


def blend(
    degenerate: Int32[Array, '#h #w #c'],
    image: UInt8[Array, 'h w c'],
    factor: Float32[Array | np.ndarray, '2'],
) -> UInt8[Array, 'h w c']:
    """`Image.blend` of an `ImageEnhance` with its degenerate image.

    Args:
      degenerate: what a factor of 0 gives, 0 to 255.
      image: what a factor of 1 gives.
      factor: from `split_factor`.
    """
    degenerate = degenerate.astype(jnp.float32)
    difference = image.astype(jnp.float32) - degenerate
    # The product is rounded before it is added, as in Pillow, also by compilers that
    # join a product and a sum to one: each of these two products is exact.
    product = factor[0] * difference + factor[1] * difference
    return (degenerate + product).clip(0, 255).astype(jnp.uint8)


def grey(image: UInt8[Array, 'h w c']) -> Int32[Array, 'h w 1']:
    """`Image.convert('L')`: luma of ITU-R 601-2; a grey image as it is."""
    image = image.astype(jnp.int32)
    if image.shape[-1] == 1:
        return image
    weights = jnp.array([19595, 38470, 7471], jnp.int32)
    return ((image * weights).sum(-1, keepdims=True, dtype=jnp.int32) + 0x8000) >> 16


def rounded_mean(image: Int32[Array, 'h w 1']) -> Int32[Array, '1 1 1']:
    """A grey image's mean, to the nearest whole number: `Contrast`'s degenerate."""
    total = image.sum(dtype=jnp.int32)
    return ((2 * total + image.size) // (2 * image.size)).reshape(1, 1, 1)


def smooth(image: UInt8[Array, 'h w c']) -> Int32[Array, 'h w c']:
    """`ImageFilter.SMOOTH`, 3x3; the outermost pixels stay. `Sharpness`' degenerate."""
    height, width, _ = image.shape
    image = image.astype(jnp.int32)
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * image
    y, x = jnp.arange(height)[:, None, None], jnp.arange(width)[:, None]
    inner = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    # To the nearest: of thirteenths, none is a half.
    return jnp.where(inner, (2 * total + 13) // 26, image)


def posterize(
    image: UInt8[Array, 'h w c'], bits: Int32[Array, ''] | int
) -> UInt8[Array, 'h w c']:
    """`ImageOps.posterize`: the highest so many bits of each pixel, 1 to 8."""
    return image & jnp.asarray(256 - 2 ** (8 - bits)).astype(jnp.uint8)


def solarize(
    image: UInt8[Array, 'h w c'], threshold: Float32[Array, ''] | float
) -> UInt8[Array, 'h w c']:
    """`ImageOps.solarize`: inverts pixels from the threshold up."""
    return jnp.where(image.astype(jnp.float32) < threshold, image, 255 - image)


def autocontrast(image: UInt8[Array, 'h w c']) -> UInt8[Array, 'h w c']:
    """`ImageOps.autocontrast`: stretches each channel to 0 to 255.

    Rounds down what Pillow rounds down after it has rounded otherwise: where the exact
    value is a whole number, Pillow's can be one less.
    """
    low = image.min((0, 1)).astype(jnp.float32)
    high = image.max((0, 1)).astype(jnp.float32)
    # Half of a unit more than the quotient's, so that no rounding reaches down.
    scaled = ((image - low) * 255 + 0.5) / jnp.maximum(high - low, 1)
    return jnp.where(high > low, jnp.floor(scaled).astype(jnp.uint8), image)


def equalize(
    image: UInt8[Array, 'h w c'], when: Bool[Array, ''] | bool = True
) -> UInt8[Array, 'h w c']:
    """`ImageOps.equalize`: each channel's histogram made as even as can be.

    Args:
      image: to equalize.
      when: or else to leave as it is, at the same cost.
    """

    def channel(pixels: UInt8[Array, 'h w']) -> UInt8[Array, 'h w']:
        table = _equalizing_table(pixels, when)
        return table.at[pixels.astype(jnp.int32)].get(mode='promise_in_bounds')

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)


def _equalizing_table(
    pixels: UInt8[Array, 'h w'], when: Bool[Array, ''] | bool
) -> UInt8[Array, '256']:
    counts = jnp.zeros(256, jnp.int32).at[pixels].add(1)
    darker = jnp.cumsum(counts, dtype=jnp.int32) - counts
    step = (pixels.size - counts[pixels.max()]) // 255
    # Floats divide faster; with the half, exactly, for up to 2**22 pixels.
    quotients = (darker + step // 2).astype(jnp.float32) + 0.5
    table = jnp.floor(quotients / jnp.maximum(step, 1)).clip(0, 255).astype(jnp.uint8)
    return jnp.where(when & (step > 0), table, jnp.arange(256, dtype=jnp.uint8))
