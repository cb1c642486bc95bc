"""Optimizers whose numbers are array inputs.

To add one, write a function and add a line to `OPTIMIZERS`; a number of its own is a
field of `Hyperparameters`, of configs/default.py and of the checks in config.py.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import optax
from jaxtyping import PyTree
from optax.contrib import MuonDimensionNumbers, muon

from fmnist_jax.errors import unknown_name
from fmnist_jax.training.hyperparameters import Hyperparameters, Number

# Says of each parameter whether it is decayed.
_Mask = Callable[[PyTree], PyTree]
# The root mean square of adamw's updates, which muon's are given too, so that one rate
# suits both: Liu et al. (2025), https://arxiv.org/abs/2502.16982, section 2.2.
_MUON_RMS = 0.2


def _sgd(rate: Number, h: Hyperparameters, mask: _Mask) -> optax.GradientTransformation:
    return optax.chain(_l2(h, mask), optax.sgd(rate, momentum=h.momentum))


def _nesterov(
    rate: Number, h: Hyperparameters, mask: _Mask
) -> optax.GradientTransformation:
    # As Sutskever et al. (2013) put it, http://proceedings.mlr.press/v28/sutskever13.
    sgd = optax.sgd(rate, momentum=h.momentum, nesterov=True)
    return optax.chain(_l2(h, mask), sgd)


def _adam(
    rate: Number, h: Hyperparameters, mask: _Mask
) -> optax.GradientTransformation:
    # Kingma & Ba (2015), https://arxiv.org/abs/1412.6980.
    return optax.chain(_l2(h, mask), optax.adam(rate, b1=h.b1, b2=h.b2, eps=h.eps))


def _adamw(
    rate: Number, h: Hyperparameters, mask: _Mask
) -> optax.GradientTransformation:
    # Loshchilov & Hutter (2019), https://arxiv.org/abs/1711.05101, the decay times the
    # learning rate as in PyTorch.
    return optax.adamw(
        rate, b1=h.b1, b2=h.b2, eps=h.eps, weight_decay=h.weight_decay, mask=mask
    )


def _muon(
    rate: Number, h: Hyperparameters, mask: _Mask
) -> optax.GradientTransformation:
    # Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/: kernels, as
    # matrices of all their inputs by their outputs; adamw for the rest, as optax has it
    # with Nesterov's momentum (Dozat, 2016), whose decay has no mask of its own.
    adam_decay = h.weight_decay if mask is _all else 0.0
    return muon(
        rate,
        beta=h.momentum,
        eps=h.eps,
        weight_decay=h.weight_decay,
        adam_b1=h.b1,
        adam_b2=h.b2,
        adam_weight_decay=adam_decay,
        muon_weight_dimension_numbers=_matrices,
        consistent_rms=_MUON_RMS,
    )


def _l2(h: Hyperparameters, mask: _Mask) -> optax.GradientTransformation:
    """Weight decay as a part of the gradient, as PyTorch's sgd and adam have it."""
    return optax.add_decayed_weights(h.weight_decay, mask=mask)


def _kernels(params: PyTree) -> PyTree:
    """Biases and BatchNorm's scales are not decayed (He et al., 2018).

    https://arxiv.org/abs/1812.01187
    """
    return jax.tree.map(lambda x: x.ndim > 1, params)


def _all(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: True, params)


def _matrices(params: PyTree) -> PyTree:
    """For each kernel [..., in, out], which dimensions are inputs and outputs."""

    def dimensions(x: Any) -> MuonDimensionNumbers | None:
        last = x.ndim - 1
        return MuonDimensionNumbers(tuple(range(last)), last) if x.ndim > 1 else None

    return jax.tree.map(dimensions, params)


OPTIMIZERS = MappingProxyType(
    {'sgd': _sgd, 'nesterov': _nesterov, 'adam': _adam, 'adamw': _adamw, 'muon': _muon}
)
# What is decayed.
DECAYED: MappingProxyType[str, _Mask] = MappingProxyType(
    {'kernels': _kernels, 'all': _all}
)


def make_optimizer(
    name: str, learning_rate: Number, h: Hyperparameters, decayed: str = 'kernels'
) -> optax.GradientTransformation:
    """An optimizer for one step, after clipping by the gradient's global norm.

    Its state's structure depends on `name` alone.

    Args:
      name: of the optimizer.
      learning_rate: of the step.
      h: its other numbers.
      decayed: the parameters that weight decay is for, one of `DECAYED`.

    Raises:
      UserError: there is no optimizer of this name.
    """
    if name not in OPTIMIZERS:
        raise unknown_name('optimizer.name', name, OPTIMIZERS)
    # Pascanu et al. (2013), https://arxiv.org/abs/1211.5063.
    clip = optax.clip_by_global_norm(h.clip_norm)
    return optax.chain(clip, OPTIMIZERS[name](learning_rate, h, DECAYED[decayed]))
