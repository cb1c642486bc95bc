"""What is trained: the models layer by layer, their optimizers, their batch sizes.

The layers are for the peers; this project trains its own models. That both are the
same network is shown by their losses, see `benchmark`. Nothing here needs a package.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from fmnist_jax.errors import UserError, unknown_name


# Layers, under Flax's names. Sizes are not theirs to know: they come with the weights.
@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution with stride 1; 'same' or 'valid' padding."""

    padding: str


@dataclasses.dataclass(frozen=True)
class Dense:
    """A dense layer."""


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation; the momentum is what is kept of the running averages."""

    momentum: float
    epsilon: float


@dataclasses.dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """2x2, stride 2."""


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Drops with this probability."""

    rate: float


@dataclasses.dataclass(frozen=True)
class Flatten:
    """To [batch, features]."""


Layer = Conv | Dense | BatchNorm | Relu | MaxPool | Dropout | Flatten


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """'sgd', or 'adam' with b1 = 0.9 and b2 = 0.999."""

    name: str
    learning_rate: float
    eps: float = 1e-8


@dataclasses.dataclass(frozen=True)
class Network:
    """A model of fmnist_jax/models, and what it is trained with.

    Attributes:
      layers: in order.
      optimizer: as published.
      compared_at: the learning rate at which losses are compared; None for the
        optimizer's.
    """

    layers: tuple[Layer, ...]
    optimizer: Optimizer
    compared_at: float | None = None


_TORCH_NORM = BatchNorm(momentum=0.9, epsilon=1e-5)
_KERAS_NORM = BatchNorm(momentum=0.99, epsilon=1e-3)


def _vgg_block(dropout_rate: float) -> tuple[Layer, ...]:
    conv = (Conv('same'), Relu(), _KERAS_NORM)
    return (*conv, *conv, MaxPool(), Dropout(dropout_rate))


_SGD = Optimizer('sgd', 0.1)
_KERAS_ADAM = Optimizer('adam', 1e-3, eps=1e-7)
_TINYVGG_BLOCK = (Conv('same'), Relu(), Conv('same'), Relu(), MaxPool())
_VALID_BLOCK = (Conv('valid'), Relu(), MaxPool())
_BN_BLOCK = (Conv('valid'), _TORCH_NORM, Relu(), MaxPool())

# Optimizers as the projects that the models come from published them.
NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        'linear': Network((Flatten(), Dense()), _SGD),
        'tinyvgg': Network(
            (*_TINYVGG_BLOCK, *_TINYVGG_BLOCK, Flatten(), Dense()), _SGD
        ),
        'keras_tinyvgg': Network(
            (*_VALID_BLOCK, *_VALID_BLOCK, Conv('valid'), Relu(), Flatten(), Dense()),
            _KERAS_ADAM,
        ),
        'vgg_like': Network(
            (
                *_vgg_block(0.25),
                *_vgg_block(0.25),
                Flatten(),
                Dense(),
                Relu(),
                _KERAS_NORM,
                Dropout(0.5),
                Dense(),
            ),
            _KERAS_ADAM,
            # At 1e-3 no two float32 programs can agree: computed in float64, a change
            # of the initial weights by one float32 rounding (2^-23 of each) changes
            # the loss of step 20 by 3 %. At 1e-5 that is 6e-6.
            compared_at=1e-5,
        ),
        'bn_cnn': Network(
            (*_BN_BLOCK, *_BN_BLOCK, Flatten(), Dense(), Relu(), Dense()),
            Optimizer('adam', 1e-3),
        ),
    }
)

# The published batch sizes, and a large one of each that has a small one.
DEFAULT = (
    'tinyvgg@32',
    'tinyvgg@250',
    'keras_tinyvgg@32',
    'keras_tinyvgg@250',
    'vgg_like@250',
    'bn_cnn@100',
    'bn_cnn@1000',
)


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model at a batch size; written as `tinyvgg@32`."""

    model: str
    batch_size: int

    def __str__(self) -> str:
        return f'{self.model}@{self.batch_size}'

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The model's."""
        return NETWORKS[self.model].layers

    @property
    def optimizer(self) -> Optimizer:
        """The model's."""
        return NETWORKS[self.model].optimizer

    @property
    def compared_optimizer(self) -> Optimizer:
        """The optimizer with which losses are compared."""
        rate = NETWORKS[self.model].compared_at or self.optimizer.learning_rate
        return dataclasses.replace(self.optimizer, learning_rate=rate)

    @classmethod
    def parse(cls, text: str) -> 'Workload':
        """Reads `model@batch`.

        Raises:
          UserError: it is not of this form, or the model is not in `NETWORKS`.
        """
        model, _, batch = text.partition('@')
        if model not in NETWORKS:
            raise unknown_name('model', model, NETWORKS)
        if not batch.isdecimal() or int(batch) == 0:
            raise UserError(
                f'--models: {text!r} must be a model and its batch size, such as '
                f"'{model}@32'"
            )
        return cls(model, int(batch))


def with_names(layers: Iterable[Layer]) -> Iterator[tuple[str, Layer]]:
    """The layers and the names that Flax gives them, such as `Conv_1`."""
    counts: collections.Counter = collections.Counter()
    for layer in layers:
        kind = type(layer).__name__
        yield f'{kind}_{counts[kind]}', layer
        counts[kind] += 1
