"""Max-pooling, with a kernel of this project's own on a CPU."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fmnist_jax.kernels.dense import has_kernels_for


def max_pool(images: Float[Array, 'n h w c']) -> Float[Array, 'n h2 w2 c']:
    """The largest of every 2x2 pixels; an odd last row or column is left out.

    Where several are the largest, the gradient is that of the first.
    """
    if not has_kernels_for(images) or 0 in images.shape:
        return _reduce_window(images)
    return _max_pool(images)


def _reduce_window(images: Array) -> Array:
    return lax.reduce_window(
        images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID'
    )


@jax.custom_vjp
def _max_pool(images: Array) -> Array:
    def fast(images):
        n, height, width, channels = images.shape
        return jax.ffi.ffi_call(
            'fmnist_jax_max_pool',
            jax.ShapeDtypeStruct((n, height // 2, width // 2, channels), images.dtype),
            vmap_method='expand_dims',
        )(images)

    return lax.platform_dependent(images, cpu=fast, default=_reduce_window)


def _forward(images: Array) -> tuple[Array, Array]:
    return _max_pool(images), images


def _backward(images: Array, gradient: Array) -> tuple[Array]:
    return (_pullback(images, gradient),)


@jax.custom_vjp
def _pullback(images: Array, gradient: Array) -> Array:
    def fast(images, gradient):
        return jax.ffi.ffi_call(
            'fmnist_jax_max_pool_gradient',
            jax.ShapeDtypeStruct(images.shape, images.dtype),
            vmap_method='expand_dims',
        )(images, gradient)

    return lax.platform_dependent(images, gradient, cpu=fast, default=_pullback_of_xla)


def _pullback_of_xla(images: Array, gradient: Array) -> Array:
    return jax.vjp(_reduce_window, images)[1](gradient)[0]


def _pullback_forward(images: Array, gradient: Array):
    return _pullback(images, gradient), (images, gradient)


def _pullback_backward(kept: tuple[Array, Array], gradient: Array):
    """Second derivatives are XLA's."""
    return jax.vjp(_pullback_of_xla, *kept)[1](gradient)


_max_pool.defvjp(_forward, _backward)
_pullback.defvjp(_pullback_forward, _pullback_backward)
