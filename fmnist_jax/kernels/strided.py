"""A convolution with strides as a sum of convolutions without."""

import itertools
from collections.abc import Sequence

from jax import lax
from jaxtyping import Array, Float

from fmnist_jax.kernels import dense


def sum_of_phases(
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    images: Float[Array, 'n h w c'],
    kernel: Float[Array, 'height width c d'],
) -> Float[Array, 'n h2 w2 d']:
    """The convolution, from the images' phases: every second row, and the others.

    Each weight meets pixels of one phase only, so that no product is computed that is
    not needed: weights [i::2, j::2] are a kernel for pixels [i::2, j::2].

    Args:
      strides: down and across.
      pads: rows above and below, columns left and right.
      images: float.
      kernel: float.
    """
    padded = lax.pad(
        images, images.dtype.type(0), ((0, 0, 0), *((*p, 0) for p in pads), (0, 0, 0))
    )
    rows, columns = (
        (side - window) // stride + 1
        for side, window, stride in zip(
            padded.shape[1:3], kernel.shape[:2], strides, strict=True
        )
    )
    terms = []
    for i, j in itertools.product(*map(range, strides)):
        weights = kernel[i :: strides[0], j :: strides[1]]
        if 0 in weights.shape:
            continue
        phase = padded[:, i :: strides[0], j :: strides[1]]
        height, width = rows + weights.shape[0] - 1, columns + weights.shape[1] - 1
        terms.append(_convolve(phase[:, :height, :width], weights))
    return sum(terms[1:], terms[0])


def _convolve(images: Array, kernel: Array) -> Array:
    """Without strides and padding."""
    return dense.convolve(_convolve_by_xla, ((0, 0), (0, 0)), images, kernel)


def _convolve_by_xla(images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        images, kernel, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
