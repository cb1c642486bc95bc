"""Optimizers whose numbers are array inputs.

To add one, write a function and add a line to `OPTIMIZERS`; a number of its own is a
field of `Hyperparameters`, of configs/default.py and of the checks in config.py.
"""

from types import MappingProxyType

import jax
import optax
from jaxtyping import PyTree

from fmnist_jax.errors import unknown_name
from fmnist_jax.training.hyperparameters import Hyperparameters, Number


def _sgd(rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    return optax.chain(_l2(h), optax.sgd(rate, momentum=h.momentum))


def _nesterov(rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    # As Sutskever et al. (2013) put it, http://proceedings.mlr.press/v28/sutskever13.
    return optax.chain(_l2(h), optax.sgd(rate, momentum=h.momentum, nesterov=True))


def _adam(rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    # Kingma & Ba (2015), https://arxiv.org/abs/1412.6980.
    return optax.chain(_l2(h), optax.adam(rate, b1=h.b1, b2=h.b2, eps=h.eps))


def _adamw(rate: Number, h: Hyperparameters) -> optax.GradientTransformation:
    # Loshchilov & Hutter (2019), https://arxiv.org/abs/1711.05101, the decay times the
    # learning rate as in PyTorch.
    return optax.adamw(
        rate,
        b1=h.b1,
        b2=h.b2,
        eps=h.eps,
        weight_decay=h.weight_decay,
        mask=_is_kernel,
    )


def _l2(h: Hyperparameters) -> optax.GradientTransformation:
    """Weight decay as a part of the gradient, as PyTorch's sgd and adam have it."""
    return optax.add_decayed_weights(h.weight_decay, mask=_is_kernel)


def _is_kernel(params: PyTree) -> PyTree:
    """Biases and BatchNorm's scales are not decayed (He et al., 2018).

    https://arxiv.org/abs/1812.01187
    """
    return jax.tree.map(lambda x: x.ndim > 1, params)


OPTIMIZERS = MappingProxyType(
    {'sgd': _sgd, 'nesterov': _nesterov, 'adam': _adam, 'adamw': _adamw}
)


def make_optimizer(
    name: str, learning_rate: Number, h: Hyperparameters
) -> optax.GradientTransformation:
    """An optimizer for one step, after clipping by the gradient's global norm.

    Its state's structure depends on `name` alone.

    Raises:
      UserError: there is no optimizer of this name.
    """
    if name not in OPTIMIZERS:
        raise unknown_name('optimizer.name', name, OPTIMIZERS)
    # Pascanu et al. (2013), https://arxiv.org/abs/1211.5063.
    clip = optax.clip_by_global_norm(h.clip_norm)
    return optax.chain(clip, OPTIMIZERS[name](learning_rate, h))
