"""Small models for whole runs, and random variables for the registered ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fmnist_jax.kernels import max_pool
from fmnist_jax.models import create_model
from fmnist_jax.models.layers import Conv, Dropout, flatten
from tests.images import GREY


class DropoutNet(nn.Module):
    """Convolution, BatchNorm and dropout: what has state or draws random numbers."""

    num_classes: int
    dropout_rate: float | jax.Array = 0.3
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, *, train):
        x = max_pool(Conv(8, (3, 3))(images))
        x = nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name)(x)
        x = Dropout(self.dropout_rate, self.axis_name)(nn.relu(x), train=train)
        return nn.Dense(self.num_classes)(flatten(x))


class LonelyNet(nn.Module):
    """BatchNorm that knows of no other device."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.BatchNorm(use_running_average=not train)(flatten(images))
        return nn.Dense(self.num_classes)(x)


def random_variables(name):
    """A model, and variables of its shapes, none of them 0."""
    model = create_model(name, num_classes=10)
    init = functools.partial(model.init, train=False)
    image = jax.ShapeDtypeStruct((1, *GREY), jnp.float32)
    rng = np.random.default_rng(0)
    return model, jax.tree.map(
        lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32),
        jax.eval_shape(init, jax.random.key(0), image),
    )
