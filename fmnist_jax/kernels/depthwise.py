"""Depthwise convolution: each channel with a kernel of its own."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fmnist_jax.kernels.strided import sum_of_phases

_Pads = Sequence[tuple[int, int]]

# Milliseconds of one CPU core with 64 float32 images, the best of ten in one sitting:
#                                            28x28x32  28x28x16  14x14x48  7x7x128
#   sum of shifts: value                          2.3       0.8       0.6        -
#   sum of shifts: images' gradient               1.7       0.8       0.6        -
#   kernel's gradient: nine sums                 38.4       7.0       5.6        -
#     all nine sums in one pass                  18.6       6.0       7.4        -
#     sums in a loop over the images             10.3       3.4       3.8      2.0
#     diagonal of a dense kernel's                8.2       2.2       4.7     11.1
#     the same in blocks of 4 channels            7.3       2.3       1.6      1.5
#     in blocks of 8                              6.6       1.7       2.0      1.3
#     in blocks of 16                             7.7         -       2.9      2.0
# XLA's grouped convolution took 15 times as long for the value (on two cores, 128
# images of 28x28x16: 97 ms, and 210 ms with both gradients).
_BLOCK = 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def depthwise_convolution(
    strides: tuple[int, int],
    pads: _Pads,
    images: Float[Array, 'n h w c'],
    kernel: Float[Array, 'height width 1 c'],
) -> Float[Array, 'n h2 w2 c']:
    """The convolution as a sum of shifted images; fast on a CPU.

    It has no forward-mode derivative.

    Args:
      strides: down and across.
      pads: rows above and below, columns left and right.
      images: float.
      kernel: float, as `nn.Conv` keeps it.
    """
    return _sum_of_shifts(strides, pads, images, kernel)


def _forward(strides: tuple[int, int], pads: _Pads, images: Array, kernel: Array):
    return _sum_of_shifts(strides, pads, images, kernel), (images, kernel)


def _backward(strides: tuple[int, int], pads: _Pads, kept, gradient: Array):
    images, kernel = kept
    return (
        _images_gradient(strides, pads, images, kernel, gradient),
        _kernel_gradient(strides, pads, images, kernel, gradient),
    )


depthwise_convolution.defvjp(_forward, _backward)


def _sum_of_shifts(
    strides: tuple[int, int], pads: _Pads, images: Array, kernel: Array
) -> Array:
    weights = kernel.reshape(-1, kernel.shape[-1])
    shifts = _shifts(strides, _pad(images, pads), kernel.shape[:2])
    first, *others = (x * w for x, w in zip(shifts, weights, strict=True))
    return sum(others, first)


def _shifts(
    strides: tuple[int, int], padded: Array, window: Sequence[int]
) -> Iterator[Array]:
    """For each weight the pixels that it meets, all of the result's size."""
    last = [side - size for side, size in zip(padded.shape[1:3], window, strict=True)]
    for i, j in itertools.product(*map(range, window)):
        rows = slice(i, i + last[0] + 1, strides[0])
        yield padded[:, rows, j : j + last[1] + 1 : strides[1]]


def _pad(images: Array, pads: _Pads, strides: tuple[int, int] = (1, 1)) -> Array:
    """With zeros around, and between pixels that are strides apart."""
    inner = [(*pad, stride - 1) for pad, stride in zip(pads, strides, strict=True)]
    return lax.pad(images, images.dtype.type(0), ((0, 0, 0), *inner, (0, 0, 0)))


def _images_gradient(
    strides: tuple[int, int], pads: _Pads, images: Array, kernel: Array, gradient: Array
) -> Array:
    """The convolution of the result's gradient with the kernel turned around."""
    outer = []
    for axis in (0, 1):
        window, side = kernel.shape[axis], images.shape[1 + axis]
        low = window - 1 - pads[axis][0]
        spread = (gradient.shape[1 + axis] - 1) * strides[axis] + 1
        outer.append((low, side + window - 1 - spread - low))
    spread_out = _pad(gradient, outer, strides)
    return _sum_of_shifts((1, 1), ((0, 0), (0, 0)), spread_out, kernel[::-1, ::-1])


def _kernel_gradient(
    strides: tuple[int, int], pads: _Pads, images: Array, kernel: Array, gradient: Array
) -> Array:
    """The diagonals of the gradients of small dense kernels, of some channels each."""
    diagonals = []
    for start in range(0, images.shape[3], _BLOCK):
        some = images[..., start : start + _BLOCK]
        convolution = functools.partial(sum_of_phases, strides, pads, some)
        shape = (*kernel.shape[:2], some.shape[3], some.shape[3])
        _, pullback = jax.vjp(convolution, jnp.zeros(shape, kernel.dtype))
        (dense,) = pullback(gradient[..., start : start + _BLOCK])
        diagonals.append(jnp.diagonal(dense, axis1=2, axis2=3))
    return jnp.concatenate(diagonals, axis=-1)[:, :, None]
