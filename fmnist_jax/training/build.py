"""Makes an experiment of a config: data loaded, names found, sizes checked."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.data.augmentation import check_images, make_augmentation
from fmnist_jax.data.batches import Normalization
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model, own
from fmnist_jax.models.check import check_model
from fmnist_jax.models.fields import dropout_rate_of
from fmnist_jax.training import checks, parallel
from fmnist_jax.training.chunks import choose_chunk, has_convolution
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.precision import get_precision
from fmnist_jax.training.step import StepFunctions
from fmnist_jax.training.teachers import load_teachers
from fmnist_jax.training.trained import TrainedModel


def build_experiment(
    config: ConfigDict,
    group: parallel.DeviceGroup | None = None,
    log: Callable[[str], None] = print,
    dataset: Dataset | None = None,
) -> Experiment:
    """Makes all that follows from a config; see `configure` for what comes first.

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


def _repetition(
    config: ConfigDict,
    group: parallel.DeviceGroup,
    model: nn.Module,
    teachers: Sequence[TrainedModel],
    image_shape: tuple[int, int, int],
) -> dict[str, Any]:
    """How a device's program repeats: `chunk` and `in_loop` of `StepFunctions`."""
    batch = config.batch_size // config.gradient_accumulation // len(group)
    if not group.is_cpu:
        return {'chunk': batch, 'in_loop': True}
    asked = [(model, get_precision(config.precision))]
    asked += [(one.functions.model, one.functions.precision) for one in teachers]
    in_loop = not any(
        has_convolution(one, image_shape, batch, precision.compute)
        for one, precision in asked
    )
    chunk = choose_chunk(model, image_shape, batch, in_loop=in_loop)
    return {'chunk': chunk, 'in_loop': in_loop}
