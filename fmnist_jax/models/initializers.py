"""Initialisers of the frameworks that the reproduced projects were written in."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer

# U(±sqrt(3 · scale / fan_in)) with scale 1/3 is U(±1/sqrt(fan_in)): the default of
# torch.nn.Conv2d and torch.nn.Linear (kaiming_uniform_ with a = sqrt(5)).
torch_kernel = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')

# U(±sqrt(6 / (fan_in + fan_out))): the default of keras.layers.Conv2D and Dense, whose
# biases start as zeros, as Flax's do. Glorot and Bengio (2010),
# https://proceedings.mlr.press/v9/glorot10a.html.
keras_kernel = nn.initializers.glorot_uniform()


def torch_bias(fan_in: int) -> Initializer:
    """PyTorch's default bias: U(±1/sqrt(fan_in)), with the layer's kernel's fan-in.

    Args:
      fan_in: inputs of each output: kernel height x width x input channels.
    """

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
