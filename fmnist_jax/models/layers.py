"""Flax layers as PyTorch and Keras make them, and what else the families share.

The functions make modules, which take their names from the model that calls them: call
them inside `nn.compact`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.kernels import conv_general_dilated
from fmnist_jax.models.initializers import keras_kernel, torch_bias, torch_kernel

# `nn.Conv`, fast on a CPU too.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)


def torch_conv(
    x: Float[Array, 'batch h w c'],
    features: int,
    kernel_size: Sequence[int],
    **kwargs: Any,
) -> Float[Array, 'batch h2 w2 d']:
    """`Conv` drawn as `torch.nn.Conv2d` draws it."""
    fan_in = math.prod(kernel_size) * x.shape[-1]
    bias_init = torch_bias(fan_in)
    return Conv(
        features, kernel_size, kernel_init=torch_kernel, bias_init=bias_init, **kwargs
    )(x)


def torch_dense(x: Float[Array, 'batch c'], features: int) -> Float[Array, 'batch d']:
    """`nn.Dense` drawn as `torch.nn.Linear` draws it."""
    bias_init = torch_bias(x.shape[-1])
    return nn.Dense(features, kernel_init=torch_kernel, bias_init=bias_init)(x)


def keras_conv(
    x: Float[Array, 'batch h w c'],
    features: int,
    kernel_size: Sequence[int],
    **kwargs: Any,
) -> Float[Array, 'batch h2 w2 d']:
    """`Conv` drawn as `keras.layers.Conv2D` draws it."""
    return Conv(features, kernel_size, kernel_init=keras_kernel, **kwargs)(x)


def keras_dense(x: Float[Array, 'batch c'], features: int) -> Float[Array, 'batch d']:
    """`nn.Dense` drawn as `keras.layers.Dense` draws it."""
    return nn.Dense(features, kernel_init=keras_kernel)(x)


# Functions that make a convolution and a dense layer.
_LAYERS = MappingProxyType(
    {'torch': (torch_conv, torch_dense), 'keras': (keras_conv, keras_dense)}
)


def get_layers(initializers: str) -> tuple[Callable, Callable]:
    """The convolution and the dense layer that draw as 'torch' or 'keras' does.

    Raises:
      UserError: no such initialisers are known.
    """
    if initializers not in _LAYERS:
        raise unknown_name('model.initializers', initializers, _LAYERS)
    return _LAYERS[initializers]


def _batch_norm(
    x: Float[Array, 'batch ... c'],
    *,
    train: bool,
    axis_name: str | None,
    momentum: float,
    epsilon: float,
    use_scale: bool = True,
) -> Float[Array, 'batch ... c']:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        use_scale=use_scale,
        axis_name=axis_name,
    )(x)


# Functions of (x, *, train, axis_name). PyTorch calls 0.1 what is 0.9 here; it averages
# the unbiased variance, n / (n - 1) times the one that Flax averages.
torch_batch_norm = functools.partial(_batch_norm, momentum=0.9, epsilon=1e-5)
keras_batch_norm = functools.partial(_batch_norm, momentum=0.99, epsilon=1e-3)
# https://github.com/KellerJordan/cifar10-airbench, whose runs are too short for slow
# averages; but PyTorch's epsilon, since 1e-12 would blow up rounding in a channel that
# is nearly constant.
airbench_batch_norm = functools.partial(
    _batch_norm, momentum=0.6, epsilon=1e-5, use_scale=False
)

# With PyTorch's defaults: a slope of 0.01 below 0, and GELU without approximation.
_ACTIVATIONS = MappingProxyType(
    {
        'relu': nn.relu,
        'leaky_relu': functools.partial(nn.leaky_relu, negative_slope=0.01),
        'gelu': functools.partial(nn.gelu, approximate=False),
        'sigmoid': nn.sigmoid,
        'silu': nn.silu,
        'hard_swish': nn.hard_swish,
    }
)


def get_activation(name: str) -> Callable:
    """The elementwise function of this name, with PyTorch's defaults.

    Raises:
      UserError: no such activation is registered.
    """
    if name not in _ACTIVATIONS:
        raise unknown_name('model.activation', name, _ACTIVATIONS)
    return _ACTIVATIONS[name]


def flatten(x: Float[Array, 'batch ...']) -> Float[Array, 'batch n']:
    """All but the batch dimension as one, in (height, width, channel) order."""
    return x.reshape(x.shape[0], -1)


def global_average_pool(x: Float[Array, 'batch h w c']) -> Float[Array, 'batch c']:
    """The mean over all pixels.

    Raises:
      ZeroDivisionError: there are none, which `check_model` explains.
    """
    _check_pixels(x)
    return x.mean((1, 2))


def global_max_pool(x: Float[Array, 'batch h w c']) -> Float[Array, 'batch c']:
    """The largest over all pixels; of several, the first has the gradient.

    Raises:
      ZeroDivisionError: there are none, which `check_model` explains.
    """
    _check_pixels(x)
    # The gradient of `jnp.max` compares with the largest again. Where XLA computes `x`
    # anew for that, rounding may differ: none is equal, and it divides by their number.
    pixels = x.reshape(x.shape[0], -1, x.shape[-1])
    first = pixels.argmax(1, keepdims=True)
    is_first = jnp.arange(pixels.shape[1])[:, None] == first
    return jnp.where(is_first, pixels, 0).sum(1)


def _check_pixels(x: Array) -> None:
    if 0 in x.shape[1:3]:
        raise ZeroDivisionError('a pool over no pixels')


class Dropout(nn.Module):
    """Dropout whose mask does not depend on the number of devices.

    Each example's mask follows from its position in the global batch, where
    `nn.Dropout` draws one for the examples of its device together. Srivastava et al.
    (2014), https://jmlr.org/papers/v15/srivastava14a.html.

    Attributes:
      rate: the probability of dropping; a number, or an array without dimensions.
      axis_name: the mapped axis over which the batch is spread; None outside `pmap`.
    """

    rate: float | Array
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch ...'], *, train: bool
    ) -> Float[Array, 'batch ...']:
        """The same in evaluation; in training some zeros, the rest scaled up."""
        if not train:
            return x
        keys = _example_keys(self.make_rng('dropout'), len(x), self.axis_name)
        # In bfloat16, 1 - rate and the numbers drawn would have 8 bits.
        wide = jnp.promote_types(x.dtype, jnp.float32)
        keep = 1 - jnp.asarray(self.rate, wide)
        masks = jax.vmap(lambda k: jax.random.bernoulli(k, keep, x.shape[1:]))(keys)
        return jnp.where(masks, x / keep.astype(x.dtype), jnp.zeros_like(x))


class StochasticDepth(nn.Module):
    """Drops a residual branch, for each example as a whole.

    Huang et al. (2016), https://arxiv.org/abs/1603.09382, who scale branches down in
    evaluation; here those that are kept in training are scaled up instead, as dropout
    does. Like `Dropout`'s, the mask does not depend on the number of devices.

    Attributes:
      rate: the probability of dropping, below 1; with 0 nothing is drawn.
      axis_name: the mapped axis over which the batch is spread; None outside `pmap`.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch ...'], *, train: bool
    ) -> Float[Array, 'batch ...']:
        """The same in evaluation; in training zeros for some examples."""
        if not train or self.rate == 0:
            return x
        keys = _example_keys(self.make_rng('dropout'), len(x), self.axis_name)
        keep = 1 - self.rate
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, jnp.float32(keep)))(keys)
        kept = kept.reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(kept, x / keep, jnp.zeros_like(x))


def _example_keys(
    key: Key[Array, ''], count: int, axis_name: str | None
) -> Key[Array, ' count']:
    """A key for each of a device's examples, by its position in the global batch."""
    positions = jnp.arange(count)
    if axis_name is not None:
        positions += jax.lax.axis_index(axis_name) * count
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)


def check_dropout_rates(
    rates: Sequence[float | Array] | float | Array, count: int
) -> Sequence[float | Array]:
    """Gives the rates back if there are as many as the model has dropouts.

    Raises:
      UserError: there are more or fewer.
    """
    given = len(rates) if isinstance(rates, Sequence) else 'a single one'
    if given != count:
        raise UserError(
            f'model.dropout_rate must have {count} numbers, one for each dropout in '
            f'order, not {given}'
        )
    return rates
