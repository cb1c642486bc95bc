"""The learning-rate range test: one run whose learning rate rises exponentially.

Smith (2015), "Cyclical Learning Rates for Training Neural Networks",
https://arxiv.org/abs/1506.01186. There the rate rises linearly; an exponential rise
gives every magnitude its share, as in fastai's `lr_find`,
https://docs.fast.ai/callback.schedule.html.
"""

import dataclasses
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.lr_range_test.measurements import Measurements
from fmnist_jax.reporting.lr_range_test.result import RESULT, write_result
from fmnist_jax.training import provenance
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.lr_range_test.rise import Rise
from fmnist_jax.training.lr_range_test.rising import measure
from fmnist_jax.training.start import Start, find_start
from fmnist_jax.training.state import num_parameters


def run_range_test(
    config: ConfigDict, workdir: epath.PathLike, rise: Rise
) -> dict[str, Any]:
    """Trains while the learning rate rises, and suggests one.

    Of the config, `optimizer.learning_rate`, its schedule and warm-up, and `num_epochs`
    are not used; everything else is as in a run of it. No checkpoint is written.

    Args:
      config: see configs/default.py.
      workdir: a folder for `lr_range_test.json`, `.png` and `.pdf`, made if absent. An
        earlier test in it is replaced.
      rise: of the learning rate.

    Returns:
      What `lr_range_test.json` holds; see `result.write_result`.

    Raises:
      UserError: the config, the data, the rise or the work folder are not what they
        should be.
    """
    folder = workdir_lib.locate(workdir)
    _check_folder(folder)
    configure_jax(config)
    rise.check_duration(config)
    experiment = build_experiment(rise.applied_to(config), log=log)
    num_points = rise.num_points(experiment.steps_per_epoch, config.batch_size)
    start = find_start(experiment, Checkpoints(folder), log)
    description = _describe(config, experiment, rise, start)
    _print_start(experiment, rise, num_points, folder)
    measurements = Measurements(rise.per, rise.rates(num_points))
    measure(experiment, start.state, measurements)
    return write_result(folder, measurements, description, log)


def _check_folder(folder: epath.Path) -> None:
    workdir_lib.check(folder)
    for name in (workdir_lib.CONFIG, workdir_lib.CHECKPOINTS):
        if (folder / name).exists():
            raise UserError(f'{folder} holds a training run; choose another --workdir')


def _describe(
    config: ConfigDict, experiment: Experiment, rise: Rise, start: Start
) -> dict[str, Any]:
    """What was tested, and where it comes from."""
    size = num_parameters(start.state.params)
    found = provenance.collect(experiment.dataset, experiment.group, size)
    return {
        **dataclasses.asdict(rise),
        'config': config_lib.to_dict(config),
        'provenance': found | start.origin,
    }


def _print_start(
    experiment: Experiment, rise: Rise, num_points: int, folder: epath.Path
) -> None:
    log(f'devices: {experiment.group.describe()}, JAX {jax.__version__}')
    log(f'data: {experiment.dataset.name} from {experiment.dataset.source}')
    log(
        f'test: learning rate from {rise.min:g} to {rise.max:g}, each for one '
        f'{rise.per}, {num_points:,} of them'
    )
    replaced = ''
    if (folder / RESULT).exists():
        replaced = '; the earlier test in it will be replaced'
    log(f'work folder: {folder}{replaced}')
