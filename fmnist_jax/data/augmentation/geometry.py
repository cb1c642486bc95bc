"""Operations that move pixels: flips, shifts and rotations."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int, Key, UInt8

from fmnist_jax.data.augmentation.arguments import (
    Pixels,
    Probability,
    integer,
    number,
    one_of,
    optional,
)
from fmnist_jax.errors import UserError

# What stands beyond an image: black, or the nearest pixel of its edge.
Fill = Annotated[Literal['black', 'edge'], one_of('black', 'edge')]
Interpolation = Annotated[Literal['bilinear', 'nearest'], one_of('bilinear', 'nearest')]


def horizontal_flip(
    key: Key[Array, ''], image: UInt8[Array, 'h w c'], *, probability: Probability = 0.5
) -> UInt8[Array, 'h w c']:
    """Mirrors left and right with this probability."""
    flip = jax.random.uniform(key, (), jnp.float32) < probability
    return jnp.where(flip, image[:, ::-1], image)


def pad_and_crop(
    key: Key[Array, ''],
    image: UInt8[Array, 'h w c'],
    *,
    padding: Pixels = 2,
) -> UInt8[Array, 'h w c']:
    """Pads each side with `padding` black pixels and cuts out a random window.

    He et al. (2016), https://arxiv.org/abs/1512.03385.
    """
    _check_within('pad_and_crop', 'padding', padding, image)
    top, left = jax.random.randint(key, (2,), 0, 2 * padding + 1, jnp.int32)
    return shift_by(image, padding - top, padding - left)


def translate(
    key: Key[Array, ''],
    image: UInt8[Array, 'h w c'],
    *,
    fraction: Annotated[float | None, optional(number(0, 1))] = None,
    pixels: Annotated[int | None, optional(integer(0, 32_767))] = None,
    fill: Fill = 'black',
) -> UInt8[Array, 'h w c']:
    """Shifts down or up and right or left, by a whole number of pixels each.

    All shifts are equally likely, of up to `pixels`, or of up to `fraction` of the
    height and of the width, rounded down, less than all; where neither is given, of a
    tenth.
    """
    if pixels is None:
        share = 0.1 if fraction is None else fraction
        # 0.29 times 100 is 28.999…: what is whole but for rounding is whole.
        sides = image.shape[:2]
        limits = [min(math.floor(share * x + 1e-6), x - 1) for x in sides]
    else:
        _check_within('translate', 'pixels', pixels, image)
        limits = [pixels, pixels]
    limits = jnp.array(limits, jnp.int32)
    down, right = jax.random.randint(key, (2,), -limits, limits + 1, jnp.int32)
    return shift_by(image, down, right, fill=fill)


def reach_problem(arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with how far to shift; None if nothing is."""
    if None in (arguments['fraction'], arguments['pixels']):
        return None
    return 'give fraction or pixels, not both'


def rotate(
    key: Key[Array, ''],
    image: UInt8[Array, 'h w c'],
    *,
    degrees: Annotated[float, number(0, 180)] = 10.0,
    interpolation: Interpolation = 'bilinear',
    fill: Fill = 'edge',
) -> UInt8[Array, 'h w c']:
    """Rotates by an angle drawn uniformly from -degrees to degrees.

    With the defaults, as `ImageDataGenerator(rotation_range=10)` of Keras 2.12 and 3
    does; keras_preprocessing 1.1.2 turns about a point a pixel further down and right.
    """
    angle = jax.random.uniform(key, (), jnp.float32, -degrees, degrees)
    return rotate_by(image, angle, interpolation=interpolation, fill=fill)


def shift_by(
    image: UInt8[Array, 'h w c'],
    down: Int[Array, ''] | int,
    right: Int[Array, ''] | int,
    *,
    fill: str = 'black',
) -> UInt8[Array, 'h w c']:
    """Moves an image by so many pixels; negative: up, left."""
    height, width, _ = image.shape
    rows = jnp.arange(height, dtype=jnp.int32) - down
    columns = jnp.arange(width, dtype=jnp.int32) - right
    moved = image[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    if fill == 'edge':
        return moved
    inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0)
    inside &= columns < width
    return jnp.where(inside[..., None], moved, jnp.uint8(0))


def rotate_by(
    image: UInt8[Array, 'h w c'],
    degrees: Float[Array, ''] | float | int,
    *,
    interpolation: str = 'bilinear',
    fill: str = 'edge',
) -> UInt8[Array, 'h w c']:
    """Rotates an image counter-clockwise about its centre.

    As `scipy.ndimage.affine_transform` does of order 1 (bilinear) or 0 (nearest), with
    the mode `nearest` (edge) or `grid-constant` (black), rounded to nearest.
    """
    height, width, channels = image.shape
    angle = jnp.deg2rad(jnp.asarray(degrees, jnp.float32))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y = jnp.arange(height, dtype=jnp.float32)[:, None] - middle_y
    x = jnp.arange(width, dtype=jnp.float32) - middle_x
    coordinates = (middle_y + sin * x + cos * y, middle_x + cos * x - sin * y)
    rotated = [
        map_coordinates(
            image[..., channel],
            coordinates,
            order={'nearest': 0, 'bilinear': 1}[interpolation],
            mode={'black': 'constant', 'edge': 'nearest'}[fill],
        )
        for channel in range(channels)
    ]
    return jnp.stack(rotated, axis=-1)


def _check_within(
    name: str, argument: str, value: int, image: UInt8[Array, 'h w c']
) -> None:
    """Checks that something of the image is left in sight."""
    height, width, _ = image.shape
    if value >= min(height, width):
        raise UserError(
            f'augmentation {name!r}: {argument} must be less than the sides of the '
            f'images, which are {height}x{width}, not {value}'
        )
