"""A convolution without strides and groups, with the kernels of `kernels.c`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fmnist_jax.kernels import library

# Lanes of the widest vectors that kernels.c knows.
_LANES = 16
# With fewer images, nearly all lanes would be empty.
_FEWEST_IMAGES = 4
# A kernel's gradient is added up for each lane: 64 bytes a weight.
_MOST_WEIGHTS = 2**20
# Of a kernel's gradient, products of rows with so many pixels are added up before sums
# leave the registers: few, for the sake of the first-level cache.
_PIXELS_AT_ONCE = 28

# A tuple of tuples: functions with custom derivatives hash it.
_Pads = tuple[tuple[int, int], ...]


def convolve(
    general: Callable[[Array, Array], Array],
    pads: _Pads,
    images: Float[Array, 'n h w c'],
    kernel: Float[Array, 'height width c d'],
) -> Float[Array, 'n h2 w2 d']:
    """A convolution without strides, dilation and groups, by `kernels.c` if it can be.

    It can of at least 4 float32 images, on a CPU. It has no forward-mode derivative
    then, and a program that is exported for a CPU with a fixed batch holds these
    kernels, which `jax.export` refuses; export it with an open batch, or with
    `FMNIST_JAX_KERNELS=0` in the environment.

    Args:
      general: the same by XLA: for other platforms, and other images and kernels.
      pads: rows above and below, columns left and right.
      images: float.
      kernel: float.
    """
    is_fit = (
        has_kernels_for(images)
        and kernel.dtype == np.float32
        and kernel.size <= _MOST_WEIGHTS
        and 0 not in images.shape + kernel.shape
        and images.shape[3] == kernel.shape[2]
        and min(_size(images.shape[1:3], kernel.shape[:2], pads)) >= 1
    )
    if not is_fit:
        return general(images, kernel)
    return _convolution(general, pads, images, kernel)


def has_kernels_for(images: Array) -> bool:
    """Whether images are worth a kernel's while, and there are kernels.

    Args:
      images: [batch, height, width, channel]. Sizes that are left open, as an
        exported program's may be, are left to XLA's own operations.
    """
    return (
        images.dtype == np.float32
        and all(isinstance(size, int) for size in images.shape)
        and images.shape[0] >= _FEWEST_IMAGES
        # What is compiled on a machine for its accelerators has no use for them.
        and jax.default_backend() == 'cpu'
        and library.are_available()
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolution(general: Callable, pads: _Pads, images: Array, kernel: Array) -> Array:
    fast = functools.partial(_call, 'convolution', pads)
    return lax.platform_dependent(images, kernel, cpu=fast, default=general)


def _forward(general: Callable, pads: _Pads, images: Array, kernel: Array):
    return _convolution(general, pads, images, kernel), (images, kernel)


def _backward(general: Callable, pads: _Pads, kept, gradient: Array):
    return _pullback(general, pads, *kept, gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _pullback(
    general: Callable, pads: _Pads, images: Array, kernel: Array, gradient: Array
) -> tuple[Array, Array]:
    def fast(images, kernel, gradient):
        outer = tuple(
            (width - 1 - low, width - 1 - high)
            for (low, high), width in zip(pads, kernel.shape[:2], strict=True)
        )
        return (
            _call('convolution_images_gradient', outer, gradient, kernel),
            _call_kernel_gradient(pads, images, kernel, gradient),
        )

    return lax.platform_dependent(
        images,
        kernel,
        gradient,
        cpu=fast,
        default=functools.partial(_pullback_of_xla, general),
    )


def _pullback_of_xla(
    general: Callable, images: Array, kernel: Array, gradient: Array
) -> tuple[Array, Array]:
    return jax.vjp(general, images, kernel)[1](gradient)


def _pullback_forward(general: Callable, pads: _Pads, *arrays: Array):
    return _pullback(general, pads, *arrays), arrays


def _pullback_backward(general: Callable, pads: _Pads, arrays, gradients):
    """Second derivatives are XLA's."""
    del pads
    return jax.vjp(functools.partial(_pullback_of_xla, general), *arrays)[1](gradients)


_convolution.defvjp(_forward, _backward)
_pullback.defvjp(_pullback_forward, _pullback_backward)


def _call(name: str, pads: _Pads, images: Array, kernel: Array) -> Array:
    """The convolution, or with the other name that of gradients of its result."""
    *window, inputs, outputs = kernel.shape
    if name == 'convolution_images_gradient':
        inputs, outputs = outputs, inputs
    size = _size(images.shape[1:3], window, pads)
    rows = window[0] * (size[1] + window[1] - 1) * inputs + size[1] * outputs
    result = jax.ShapeDtypeStruct((len(images), *size, outputs), images.dtype)
    return _ffi_call(name, result, rows * _LANES + kernel.size, pads)(images, kernel)


def _call_kernel_gradient(
    pads: _Pads, images: Array, kernel: Array, gradient: Array
) -> Array:
    height, width = gradient.shape[1:3]
    at_once = max(1, min(height, _PIXELS_AT_ONCE // width))
    padded_width = width + kernel.shape[1] - 1
    rows = (at_once + kernel.shape[0] - 1) * padded_width * images.shape[3]
    gradient_rows = at_once * width * gradient.shape[3]
    rows += gradient_rows + max(gradient_rows, padded_width * images.shape[3])
    return _ffi_call(
        'convolution_kernel_gradient',
        jax.ShapeDtypeStruct(kernel.shape, kernel.dtype),
        (rows + kernel.size) * _LANES,
        pads,
        at_once,
    )(images, gradient)


def _ffi_call(
    name: str, result: Any, scratch_size: int, pads: _Pads, rows_at_once: int = 1
) -> Callable:
    """A kernel; the memory that it works in is a second result."""
    scratch = jax.ShapeDtypeStruct((scratch_size + _LANES,), np.float32)
    # The models of a `vmap` are taken one after another within the kernel.
    call = jax.ffi.ffi_call(
        f'fmnist_jax_{name}', (result, scratch), vmap_method='expand_dims'
    )
    numbers = np.array([pads[0][0], pads[1][0], rows_at_once], np.int64)
    return lambda *arrays: call(*arrays, numbers=numbers)[0]


def _size(sides: Sequence[int], window: Sequence[int], pads: _Pads) -> tuple[int, ...]:
    """Height and width of the result."""
    return tuple(
        side + sum(pad) - width + 1
        for side, width, pad in zip(sides, window, pads, strict=True)
    )
