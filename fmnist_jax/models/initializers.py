"""Initialisers as the frameworks and projects draw them that models come from."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, DTypeLike, Float, Key

# U(±sqrt(3 · scale / fan_in)) with scale 1/3 is U(±1/sqrt(fan_in)): the default of
# torch.nn.Conv2d and torch.nn.Linear (kaiming_uniform_ with a = sqrt(5)).
torch_kernel = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')

# U(±sqrt(6 / (fan_in + fan_out))): the default of keras.layers.Conv2D and Dense, whose
# biases start as zeros, as Flax's do. Glorot and Bengio (2010),
# https://proceedings.mlr.press/v9/glorot10a.html.
keras_kernel = nn.initializers.glorot_uniform()

# N(0, 2 / fan_out), fan_out = kernel height x width x output channels: He et al.
# (2015), https://arxiv.org/abs/1502.01852, as the residual networks draw it
# (https://github.com/facebookarchive/fb.resnet.torch).
he_kernel = nn.initializers.variance_scaling(2, 'fan_out', 'normal')


def torch_bias(fan_in: int) -> Initializer:
    """PyTorch's default bias: U(±1/sqrt(fan_in)), with the layer's kernel's fan-in.

    Args:
      fan_in: inputs of each output: kernel height x width x input channels.
    """

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dirac_kernel(
    key: Key[Array, ''], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, 'height width c d']:
    """The first channels are passed on as they are; the others drawn as PyTorch does.

    As https://github.com/KellerJordan/cifar10-airbench begins; where there are fewer
    channels out than in, the last ones are not passed on.

    Args:
      key: for the others.
      shape: kernel height and width, both odd; input and output channels.
      dtype: floating.
    """
    height, width, inputs, outputs = shape
    kernel = torch_kernel(key, shape, dtype)
    identity = jnp.eye(inputs, outputs, dtype=dtype)
    passed_on = jnp.zeros(shape, dtype).at[height // 2, width // 2].set(identity)
    return jnp.where(jnp.arange(outputs) < inputs, passed_on, kernel)


def unit_kernel(
    key: Key[Array, ''], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, 'c d']:
    """U(±sqrt(3)), of variance 1 whatever the number of inputs."""
    return jax.random.uniform(key, shape, dtype, -(3**0.5), 3**0.5)
