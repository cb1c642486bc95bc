"""A config made real: data, devices, model and the functions that every script maps."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int32, PyTree
from ml_collections import ConfigDict

from fmnist_jax.data import Dataset
from fmnist_jax.data.batches import Examples, epoch_order
from fmnist_jax.training import parallel
from fmnist_jax.training.gradients import Inputs
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.inference import make_predict
from fmnist_jax.training.state import TrainState, create_state
from fmnist_jax.training.step import StepFunctions, make_train_call
from fmnist_jax.training.trained import TrainedModel

# Updates a call on an accelerator: the loop is on the device, so that its small
# kernels wait for no Python. On a CPU, examples a call: Python takes a core from the
# devices between two calls, and progress is shown after each.
_STEPS_PER_CALL_ACCELERATOR = 128
_EXAMPLES_PER_CALL_CPU = 1024


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All that follows from a config, shared by the scripts.

    Attributes:
      config: as given, validated.
      dataset: in host memory.
      group: the devices.
      functions: the static parts of a step.
      teachers: trained models that it is to agree with.
      hyperparameters: its numbers, on the host.
      num_train: training examples of an epoch, augmented copies among them.
      steps_per_epoch: full batches of the training split.
    """

    config: ConfigDict
    dataset: Dataset
    group: parallel.DeviceGroup
    functions: StepFunctions
    teachers: tuple[TrainedModel, ...]
    hyperparameters: Hyperparameters
    num_train: int
    steps_per_epoch: int

    @property
    def model(self) -> nn.Module:
        """The Flax module."""
        return self.functions.model

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        return self.steps_per_epoch * self.config.num_epochs

    @property
    def images_per_epoch(self) -> int:
        """Examples trained on in an epoch."""
        return self.steps_per_epoch * self.config.batch_size

    @property
    def steps_per_call(self) -> int:
        """Updates a compiled call."""
        steps = self.config.steps_per_call
        if steps is None:
            steps = self._default_steps_per_call
        return min(steps, self.steps_per_epoch)

    @property
    def _default_steps_per_call(self) -> int:
        if not self.functions.in_loop:
            return 1
        if not self.group.is_cpu:
            return _STEPS_PER_CALL_ACCELERATOR
        return max(1, _EXAMPLES_PER_CALL_CPU // self.config.batch_size)

    def create_state(self) -> TrainState:
        """A new state drawn from the seed, on the devices."""
        return self.group.replicate(self.draw_state())

    def draw_state(self) -> TrainState:
        """A new state drawn from the seed, on one device of this process."""
        return parallel.jit_once(self._create_state)(self.hyperparameters)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and placements of a state, to restore one."""
        return self.group.abstract(
            jax.eval_shape(self._create_state, self.hyperparameters)
        )

    def _create_state(self, hyperparameters: Hyperparameters) -> TrainState:
        return create_state(
            self.model,
            self.config.optimizer.name,
            hyperparameters,
            self.dataset.image_shape,
            self.functions.precision.param,
            is_averaged=self.config.ema_decay is not None,
        )

    def place(self, images: np.ndarray, labels: np.ndarray) -> Examples:
        """A split on every device."""
        return self.group.replicate(Examples(images, labels.astype(np.int32)))

    def inputs(self, examples: Examples) -> Inputs:
        """What all steps share: the training split, placed, and the teachers."""
        return Inputs(examples, self.group.replicate(self._teacher_variables))

    def abstract_inputs(self, examples: Examples) -> Inputs:
        """Likewise as shapes, dtypes and placements, of arrays on the host."""
        return self.group.abstract(Inputs(examples, self._teacher_variables))

    @property
    def _teacher_variables(self) -> tuple[dict[str, PyTree], ...]:
        return tuple(teacher.variables for teacher in self.teachers)

    def train_call(self, num_steps: int, *, is_mapped: bool = False) -> Callable:
        """`make_train_call` mapped over the devices; the state's memory is reused.

        Args:
          num_steps: updates a call.
          is_mapped: whether states, hyper-parameters and orders are those of several
            runs, with a first dimension over them (of the order's, the second).
        """
        call = make_train_call(self.functions, num_steps)
        if is_mapped:
            call = jax.vmap(call, in_axes=(0, 0, None, None, 0))
        return self.group.map(call, num_replicated=4, donate_argnums=(0,))

    def epoch_order(self, epoch: int) -> Int32[Array, 'devices steps_parts local']:
        """The examples of each part of an epoch (from 0), for each device."""
        order = parallel.jit_once(epoch_order, static_argnums=(2, 3))(
            self.hyperparameters.seed,
            np.int32(epoch),
            self.num_train,
            self.config.batch_size,
        )
        # Its parts, one after another, are as batches to the devices.
        parts = order.reshape(-1, order.shape[1] // self.functions.num_parts)
        return self.group.split_batches(parts)

    def make_predict(self) -> Callable:
        """See `inference.make_predict`."""
        return make_predict(self.functions, self.group, self.config.eval_batch_size)
