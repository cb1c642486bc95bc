"""Convolution and max-pooling that are fast on a CPU; on others, what XLA has.

XLA's CPU convolutions are slow with few channels and in loops, and the gradient of its
max-pool costs as much as a convolution. Here:

- Arrays are laid out as [channel, height, width, batch] in memory, whatever their
  shape says, so that everything that moves or compares pixels runs over the batch.
- A convolution of few channels is one product of matrices. Pixels are taken together by
  squares of 2x2, as channels (space to depth): a patch is then made of a fourth as many
  copies, of four times the length, and the product has four times the rows, which it
  needs to be fast.
- The gradient of the images is a convolution with the mirrored kernel.
- The max-pool remembers which of its four pixels was the largest.

Which of the two is used is chosen when a program is lowered for a platform. What was
tried is in results/speed.md.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float, Int8

# With more channels, or with more images than the caches hold patches of, XLA's own are
# as fast on a CPU, or faster.
_FEW_INPUTS, _FEW_OUTPUTS = 16, 32
_FEW_IMAGES = 128
# Patches are of 2x2 outputs: for a 3x3 kernel the product then has 16/9 as many
# operations, and takes less time.
_TILE = 2

_Padding = tuple[tuple[int, int], tuple[int, int]]


def conv_general_dilated(  # noqa: PLR0917 - the signature of lax
    lhs: Float[Array, 'n ...'],
    rhs: Float[Array, '...'],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Float[Array, 'n ...']:
    """`lax.conv_general_dilated`, faster on a CPU where it is of the common kind.

    That is: of few [batch, height, width, channel] images with [height, width, in, out]
    kernels of few channels, without strides, dilation and groups. To be handed to
    `nn.Conv`. Arguments, result and errors are those of `lax.conv_general_dilated`.
    """

    def general(lhs, rhs):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )

    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    ones = (*window_strides, *(lhs_dilation or ()), *(rhs_dilation or ()))
    is_common = (
        lhs.ndim == 4
        and numbers == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        and set(ones) == {1}
        and feature_group_count == batch_group_count == 1
        and preferred_element_type is None
        # Of an exported program, the number of images may be open.
        and isinstance(lhs.shape[0], int)
        and lhs.shape[0] <= _FEW_IMAGES
        and rhs.shape[2] < _FEW_INPUTS
        and rhs.shape[3] < _FEW_OUTPUTS
    )
    if not is_common:
        return general(lhs, rhs)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], (1, 1), padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if min(map(min, pads)) < 0 or any(
        low >= size or high >= size
        for (low, high), size in zip(pads, rhs.shape[:2], strict=True)
    ):
        return general(lhs, rhs)
    fast = functools.partial(_convolution, pads, precision)
    return lax.platform_dependent(lhs, rhs, cpu=fast, default=general)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolution(pads: _Padding, precision: Any, images: Array, kernel: Array) -> Array:
    return _forward(pads, precision, images, kernel)[0]


def _forward(
    pads: _Padding, precision: Any, images: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    kernel_size, features = kernel.shape[:2], kernel.shape[3]
    patches, grid = _patches(images, kernel_size, pads)
    rows = jnp.matmul(_matrix(kernel), patches, precision=precision)
    results = rows.reshape(_TILE * _TILE * features, *grid, -1)
    size = [
        side + sum(pad) - width + 1
        for side, pad, width in zip(images.shape[1:3], pads, kernel_size, strict=True)
    ]
    return _from_depth(results)[:, : size[0], : size[1]], (patches, kernel)


def _backward(
    pads: _Padding, precision: Any, kept: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    patches, kernel = kept
    mirrored = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    outer = tuple(
        (width - 1 - low, width - 1 - high)
        for (low, high), width in zip(pads, kernel.shape[:2], strict=True)
    )
    gradient = _batch_minor(gradient)
    images_gradient = _forward(outer, precision, gradient, mirrored)[0]
    rows = _to_depth(_pad_to_tiles(gradient))
    rows = rows.reshape(len(rows), -1)
    matrix_gradient = jnp.matmul(rows, patches.T, precision=precision)
    _, pullback = jax.vjp(_matrix, kernel)
    return images_gradient, pullback(matrix_gradient)[0]


_convolution.defvjp(_forward, _backward)


def _patches(
    images: Array, kernel_size: Sequence[int], pads: _Padding
) -> tuple[Array, list[int]]:
    """What each tile of outputs is made of.

    Returns:
      [inputs of a tile, tiles * batch], and the number of tiles by height and width.
    """
    grid, reach, config = [], [], [(0, 0, 0)]
    for side, width, (low, high) in zip(
        images.shape[1:3], kernel_size, pads, strict=True
    ):
        grid.append(-(-(side + low + high - width + 1) // _TILE))
        reach.append(-(-(width + _TILE - 1) // _TILE))
        padded = _TILE * (grid[-1] + reach[-1] - 1)
        config.append((low, padded - side - low, 0))
    zero = jnp.zeros((), images.dtype)
    padded = _batch_minor(lax.pad(_batch_minor(images), zero, [*config, (0, 0, 0)]))
    depth = _to_depth(padded)
    shifted = [
        depth[:, i : i + grid[0], j : j + grid[1]]
        for i in range(reach[0])
        for j in range(reach[1])
    ]
    patches = jnp.concatenate(shifted)
    return _row_major(patches.reshape(len(patches), -1)), grid


def _matrix(kernel: Array) -> Array:
    """The kernel as [outputs of a tile, inputs of a tile], mostly zeros between."""
    height, width, inputs, outputs = kernel.shape
    reach = [-(-(size + _TILE - 1) // _TILE) for size in (height, width)]
    moved = jnp.stack(
        [
            jnp.pad(
                kernel,
                (
                    (i, _TILE * reach[0] - height - i),
                    (j, _TILE * reach[1] - width - j),
                    (0, 0),
                    (0, 0),
                ),
            )
            for i in range(_TILE)
            for j in range(_TILE)
        ]
    )
    split = moved.reshape(-1, reach[0], _TILE, reach[1], _TILE, inputs, outputs)
    return split.transpose(0, 6, 1, 3, 2, 4, 5).reshape(_TILE * _TILE * outputs, -1)


def _pad_to_tiles(images: Array) -> Array:
    """Zeros below and to the right, so that height and width are even."""
    rest = [-side % _TILE for side in images.shape[1:3]]
    if not any(rest):
        return images
    pads = ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0))
    return _batch_minor(jnp.pad(images, pads))


def _to_depth(images: Array) -> Array:
    """[n, h, w, c] to [4 * c, h / 2, w / 2, n]."""
    n, height, width, channels = images.shape
    split = images.transpose(3, 1, 2, 0).reshape(
        channels, height // _TILE, _TILE, width // _TILE, _TILE, n
    )
    depth = split.transpose(2, 4, 0, 1, 3, 5)
    return _row_major(depth.reshape(-1, height // _TILE, width // _TILE, n))


def _from_depth(depth: Array) -> Array:
    """The inverse of `_to_depth`."""
    _, rows, columns, n = depth.shape
    split = depth.reshape(_TILE, _TILE, -1, rows, columns, n).transpose(
        2, 3, 0, 4, 1, 5
    )
    images = split.reshape(-1, _TILE * rows, _TILE * columns, n)
    return _batch_minor(images.transpose(3, 1, 2, 0))


def _batch_minor(images: Array) -> Array:
    """[n, h, w, c] with the batch next to each other in memory."""
    return with_layout_constraint(images, Layout(major_to_minor=(3, 1, 2, 0)))


def _row_major(array: Array) -> Array:
    return with_layout_constraint(
        array, Layout(major_to_minor=tuple(range(array.ndim)))
    )


def max_pool(images: Float[Array, 'n h w c']) -> Float[Array, 'n h2 w2 c']:
    """The largest of every 2x2 pixels; an odd last row or column is left out.

    Where several are the largest, the gradient is that of the first.
    """
    _, height, width, _ = images.shape
    images = images[:, : height // 2 * 2, : width // 2 * 2]
    return lax.platform_dependent(images, cpu=_largest, default=_reduce_window)


def _reduce_window(images: Array) -> Array:
    return lax.reduce_window(
        images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID'
    )


@jax.custom_vjp
def _largest(images: Array) -> Array:
    return _largest_and_which(images)[0]


def _largest_and_which(images: Array) -> tuple[Array, Int8[Array, 'n h2 w2 c']]:
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    pixels = [squares[:, :, i, :, j] for i in range(2) for j in range(2)]
    largest = functools.reduce(jnp.maximum, pixels)
    conditions = [pixel == largest for pixel in pixels[:3]]
    which = jnp.select(conditions, [jnp.int8(0), jnp.int8(1), jnp.int8(2)], jnp.int8(3))
    return largest, which


def _spread(which: Array, gradient: Array) -> tuple[Array]:
    n, height, width, channels = which.shape
    pixels = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    is_largest = which[:, :, None, :, None] == pixels
    spread = jnp.where(is_largest, gradient[:, :, None, :, None], 0)
    return (spread.reshape(n, 2 * height, 2 * width, channels),)


_largest.defvjp(_largest_and_which, _spread)
