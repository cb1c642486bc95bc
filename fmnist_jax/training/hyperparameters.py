"""The numbers of a training run as array inputs of its step.

They are arrays, not constants, so that runs that differ only in numbers share one
compiled step, and can be mapped over.
"""

from typing import Any

import flax.struct
import jax
import numpy as np
from jaxtyping import Array, DTypeLike, Float
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib

# The fields of a config that become arrays here: runs that differ in no others share
# one compiled step.
FIELDS = (
    'seed',
    'model.dropout_rate',
    'num_epochs',
    'label_smoothing',
    'optimizer.learning_rate',
    'optimizer.momentum',
    'optimizer.b1',
    'optimizer.b2',
    'optimizer.eps',
    'optimizer.weight_decay',
    'optimizer.sam_radius',
    'optimizer.clip_norm',
    'optimizer.warmup',
    'optimizer.decay_rate',
    'optimizer.decay_every',
    'ema_decay',
    'distillation.weight',
    'distillation.temperature',
)
# Those of them that may be None, so that the step does something else.
OPTIONAL = ('ema_decay', 'optimizer.sam_radius')

Number = Float[Array | np.ndarray, '']


@flax.struct.dataclass
class Hyperparameters:
    """Arrays without dimensions: floats in the dtype of the parameters, but the seed.

    A tree: its leaves may be whatever a tree is mapped to.

    Attributes:
      seed: uint32, of everything random.
      learning_rate: the schedule's peak.
      momentum: of sgd, nesterov and muon.
      b1: adam's and adamw's decay of the mean of gradients.
      b2: their decay of the mean of squared gradients.
      eps: their addition to the denominator.
      weight_decay: see `optimizers`.
      sam_radius: of sharpness-aware minimisation; not read without.
      clip_norm: the largest global norm of a gradient; infinite for no clipping.
      label_smoothing: the share of each label that is spread evenly over the classes.
      dropout_rate: a model's field of this name, a tree of numbers; () if it has none.
      warmup_steps: updates over which the learning rate rises to its peak.
      decay_rate: what the exponential schedule multiplies by …
      decay_steps: … over so many updates.
      total_steps: updates in the whole run, which schedules count on.
      ema_decay: of the weights' average; not read without one.
      distillation_weight: the teachers' share of the loss; not read without any.
      distillation_temperature: what logits are divided by in that share.
    """

    seed: Any
    learning_rate: Any
    momentum: Any
    b1: Any
    b2: Any
    eps: Any
    weight_decay: Any
    sam_radius: Any
    clip_norm: Any
    label_smoothing: Any
    dropout_rate: Any
    warmup_steps: Any
    decay_rate: Any
    decay_steps: Any
    total_steps: Any
    ema_decay: Any
    distillation_weight: Any
    distillation_temperature: Any

    @classmethod
    def create(
        cls,
        config: ConfigDict,
        steps_per_epoch: int,
        dtype: DTypeLike,
        dropout_rate: Any = (),
    ) -> 'Hyperparameters':
        """From a whole config, with numbers of this floating-point type."""

        def number(value: float | int) -> np.ndarray:
            return np.asarray(value, dtype)

        def steps(duration: str) -> np.ndarray:
            batch_size = config.batch_size
            return number(config_lib.to_steps(duration, steps_per_epoch, batch_size))

        optimizer = config.optimizer
        clip_norm = optimizer.clip_norm
        return cls(
            seed=np.asarray(config.seed, np.uint32),
            learning_rate=number(optimizer.learning_rate),
            momentum=number(optimizer.momentum),
            b1=number(optimizer.b1),
            b2=number(optimizer.b2),
            eps=number(optimizer.eps),
            weight_decay=number(optimizer.weight_decay),
            sam_radius=number(optimizer.sam_radius or 0),
            clip_norm=number(np.inf if clip_norm is None else clip_norm),
            label_smoothing=number(config.label_smoothing),
            dropout_rate=jax.tree.map(number, dropout_rate),
            warmup_steps=steps(optimizer.warmup),
            decay_rate=number(optimizer.decay_rate),
            decay_steps=steps(optimizer.decay_every),
            total_steps=number(steps_per_epoch * config.num_epochs),
            ema_decay=number(config.ema_decay or 0),
            distillation_weight=number(config.distillation.weight),
            distillation_temperature=number(config.distillation.temperature),
        )
