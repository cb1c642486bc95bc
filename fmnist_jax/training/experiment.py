"""A config made real: data, devices, model and the functions that every script maps."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int32, PyTree
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.data.augmentation import check_images, make_augmentation
from fmnist_jax.data.batches import Examples, Normalization, epoch_order
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model, own
from fmnist_jax.models.check import check_model
from fmnist_jax.models.fields import dropout_rate_of
from fmnist_jax.training import checks, parallel
from fmnist_jax.training.chunks import choose_chunk, has_convolution
from fmnist_jax.training.gradients import Inputs
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.inference import make_predict
from fmnist_jax.training.precision import get_precision
from fmnist_jax.training.state import TrainState, create_state
from fmnist_jax.training.step import StepFunctions, make_train_call
from fmnist_jax.training.teachers import load_teachers
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
        if not _is_cpu(self.group):
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


def build(
    config: ConfigDict,
    group: parallel.DeviceGroup | None = None,
    log: Callable[[str], None] = print,
    dataset: Dataset | None = None,
) -> Experiment:
    """Builds all that follows from a config; see `configure` for what comes first.

    Args:
      config: see configs/default.py.
      group: the devices; None for the largest number that divides the batch.
      log: told in one line what happens.
      dataset: that of the config, if it has been loaded already.

    Raises:
      UserError: the config or the data are not what they should be.
    """
    config_lib.validate(config)
    if line := own.describe(config.model.name):
        log(line)
    checks.check_names(config)
    precision = get_precision(config.precision)
    # Mistakes in it are told before the data are prepared.
    make_augmentation(config.augmentation, 2, config.augmented_copies)
    dataset = dataset or load_dataset(config.data, log)
    augment = make_augmentation(
        config.augmentation, dataset.num_classes, config.augmented_copies
    )
    check_images(augment, dataset.image_shape)
    model = create_model(
        num_classes=dataset.num_classes, axis_name=parallel.AXIS, **config.model
    )
    for split in config_lib.SPLITS:
        dataset.split(config.data[f'{split}_split'])
    num_train = _examples_of(config, dataset)
    steps_per_epoch = steps_of(config, dataset)
    if steps_per_epoch == 0:
        raise UserError(
            f'batch_size {config.batch_size} is more than the {num_train} examples of '
            f'data.train_split {config.data.train_split!r}'
        )
    hyperparameters = _hyperparameters(config, model, steps_per_epoch)
    check_model(model, config.model.name, dataset.image_shape, dataset.num_classes)
    parts = config.gradient_accumulation
    group = group or parallel.DeviceGroup.for_batch(config.batch_size, parts)
    teachers = load_teachers(config.distillation.teachers, dataset, log)
    return Experiment(
        config=config,
        dataset=dataset,
        group=group,
        functions=StepFunctions(
            model=model,
            optimizer_name=config.optimizer.name,
            weight_decay_on=config.optimizer.weight_decay_on,
            schedule=config.optimizer.schedule,
            normalization=Normalization(config.data.mean, config.data.std),
            augment=augment,
            precision=precision,
            teachers=tuple(teacher.functions for teacher in teachers),
            is_sharpness_aware=config.optimizer.sam_radius is not None,
            num_parts=config.gradient_accumulation,
            **_repetition(config, group, model, teachers, dataset.image_shape),
        ),
        teachers=teachers,
        hyperparameters=hyperparameters,
        num_train=num_train,
        steps_per_epoch=steps_per_epoch,
    )


def with_numbers_of(experiment: Experiment, config: ConfigDict) -> Experiment:
    """The experiment of a config that differs in `hyperparameters.FIELDS` alone.

    It shares the compiled step.

    Raises:
      UserError: a field is not what it should be.
    """
    config_lib.validate(config)
    checks.check_names(config)
    model = create_model(
        num_classes=experiment.dataset.num_classes,
        axis_name=parallel.AXIS,
        **config.model,
    )
    numbers = _hyperparameters(config, model, experiment.steps_per_epoch)
    return dataclasses.replace(
        experiment,
        config=config,
        hyperparameters=numbers,
    )


def _hyperparameters(
    config: ConfigDict, model: nn.Module, steps_per_epoch: int
) -> Hyperparameters:
    dropout_rate = dropout_rate_of(model)
    checks.check_dropout_rate(config.model.name, dropout_rate)
    dtype = get_precision(config.precision).param
    hyperparameters = Hyperparameters.create(
        config, steps_per_epoch, dtype, dropout_rate
    )
    checks.check_durations(config, hyperparameters)
    return hyperparameters


def steps_of(config: ConfigDict, dataset: Dataset) -> int:
    """Updates an epoch: full batches of the training split and its copies."""
    return _examples_of(config, dataset) // config.batch_size


def _examples_of(config: ConfigDict, dataset: Dataset) -> int:
    """Training examples of an epoch."""
    examples = dataset.num_examples(config.data.train_split)
    return examples * (1 + config.augmented_copies)


def _is_cpu(group: parallel.DeviceGroup) -> bool:
    return group.devices[0].platform == 'cpu'


def _repetition(
    config: ConfigDict,
    group: parallel.DeviceGroup,
    model: nn.Module,
    teachers: Sequence[TrainedModel],
    image_shape: tuple[int, int, int],
) -> dict[str, Any]:
    """How a device's program repeats: `chunk` and `in_loop` of `StepFunctions`."""
    batch = config.batch_size // config.gradient_accumulation // len(group)
    if not _is_cpu(group):
        return {'chunk': batch, 'in_loop': True}
    asked = [(model, get_precision(config.precision))]
    asked += [(one.functions.model, one.functions.precision) for one in teachers]
    in_loop = not any(
        has_convolution(one, image_shape, batch, precision.compute)
        for one, precision in asked
    )
    chunk = choose_chunk(model, image_shape, batch, in_loop=in_loop)
    return {'chunk': chunk, 'in_loop': in_loop}
