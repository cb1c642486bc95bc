"""A whole run: config and work folder in, trained model out, resumed if need be."""

import os
import shlex
import shutil
import sys
import time
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.kernels import library
from fmnist_jax.reporting.console import log, parameter_table
from fmnist_jax.training import experiment as experiment_lib
from fmnist_jax.training import provenance
from fmnist_jax.training.checkpoint import Checkpoints, Record
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.loop import Trainer
from fmnist_jax.training.profiling import Profiler
from fmnist_jax.training.schedules import OPEN_ENDED
from fmnist_jax.training.selection import describe_origin
from fmnist_jax.training.state import TrainState, num_parameters
from fmnist_jax.training.transfer import start_from


def train_and_evaluate(
    config: ConfigDict,
    workdir: epath.PathLike,
    *,
    profile: bool = False,
    import_seconds: float = 0.0,
) -> TrainState:
    """Trains as `config` says and leaves everything in `workdir`.

    A work folder that holds a run of the same config is resumed, or left alone if it
    has finished.

    Args:
      config: see configs/default.py.
      workdir: a folder, local or in a bucket; made if absent.
      profile: whether to trace some steps into `profile/` of the work folder.
      import_seconds: what importing took, for `startup.json`.

    Returns:
      The state at the end.

    Raises:
      UserError: the config, the data or the work folder are not what they should be.
      DivergenceError: the loss, a gradient or a parameter is no longer finite.
    """
    experiment_lib.configure_jax(config)
    folder = epath.Path(workdir).expanduser()
    workdir_lib.check(folder)
    _check_config(config, folder)
    started = time.perf_counter()
    experiment = experiment_lib.build(config, log=log)
    data_seconds = time.perf_counter() - started
    provenance.check_data(experiment.dataset, folder)
    checkpoints = Checkpoints(folder)
    state, record, origin = _start(experiment, checkpoints)
    _print_start(experiment, state, folder)
    if int(state.step) >= experiment.total_steps:
        log(f'This run has finished: {experiment.total_steps} steps are done.')
    else:
        workdir_lib.create(folder)
        _write_start(experiment, folder, state, record, origin)
        checkpoints.clean_up()
        startup = {'imports': import_seconds, 'data': data_seconds}
        profiler = Profiler(folder / workdir_lib.PROFILE if profile else None, log)
        trainer = Trainer(experiment, folder, checkpoints, profiler, log)
        state, record = trainer.run(state, record, startup)
    _print_end(folder, record)
    return state


def _check_config(config: ConfigDict, folder: epath.Path) -> None:
    """Refuses a work folder that holds a run of another config."""
    path = folder / workdir_lib.CONFIG
    if not path.exists():
        return
    changed = config_lib.changed_fields(
        workdir_lib.read_json(path),
        config_lib.to_dict(config),
        may_extend=config.optimizer.schedule in OPEN_ENDED,
    )
    if changed:
        raise UserError(
            f'{folder} holds a run of another config: {"; ".join(changed)}. Choose '
            'another --workdir, or the same config'
        )


def _start(
    experiment: Experiment, checkpoints: Checkpoints
) -> tuple[TrainState, Record, dict[str, Any]]:
    """What to go on from: the latest whole checkpoint, another run, or nothing.

    Returns:
      The state, the record, and what provenance says of where they come from.
    """
    step = checkpoints.latest(log)
    if step is not None:
        state, record = checkpoints.restore(step, experiment.abstract_state())
        log(f'resumed from {checkpoints.folder / str(step)}')
        return state, record, {}
    if checkpoints.steps():
        log('no whole checkpoint is left: training starts anew')
    state, init_from = experiment.create_state(), experiment.config.init_from
    if init_from is None:
        return state, Record(), {}
    state, step = start_from(state, init_from, log)
    folder = epath.Path(init_from).expanduser()
    return state, Record(), {'init_from': describe_origin(folder, step)}


def _write_start(
    experiment: Experiment,
    folder: epath.Path,
    state: TrainState,
    record: Record,
    origin: dict[str, Any],
) -> None:
    """Writes what is known before training, and the metrics up to here."""
    step, size = int(state.step), num_parameters(state.params)
    config = config_lib.to_dict(experiment.config)
    workdir_lib.write_json(folder / workdir_lib.CONFIG, config)
    path = folder / workdir_lib.PROVENANCE
    now = provenance.collect(experiment.dataset, experiment.group, size) | origin
    resumed = workdir_lib.read_json(path) if path.exists() and step else now
    if step:
        if resumed['devices'] != now['devices']:
            log('the devices are others than before: results will differ by rounding')
        entry = {k: now[k] for k in ('git_commit', 'versions', 'devices')}
        resumed.setdefault('resumed', []).append({'step': step, **entry})
    workdir_lib.write_json(path, resumed)
    workdir_lib.write_json_lines(folder / workdir_lib.METRICS, record.metrics)


def _print_start(experiment: Experiment, state: TrainState, folder: epath.Path) -> None:
    config = experiment.config
    log(parameter_table(state.params))
    log(f'devices: {experiment.group.describe()}, JAX {jax.__version__}')
    if not experiment.functions.in_loop:
        why = library.why_not() or 'there are kernels for float32 and the common kinds'
        log(f"convolutions are XLA's own, several times slower on a CPU: {why}")
    log(f'data: {experiment.dataset.name} from {experiment.dataset.source}')
    log(
        f'training: {experiment.num_train:,} examples, {config.num_epochs} epochs of '
        f'{experiment.steps_per_epoch} steps, batch {config.batch_size}, '
        f'{config.precision}'
    )
    log(f'work folder: {folder}')


def _print_end(folder: epath.Path, record: Record) -> None:
    validation = [x for x in record.metrics if x['split'] == 'validation']
    best = next(x for x in validation if x['step'] == record.best_step())
    log(
        f'best validation accuracy {best["accuracy"]:.4f} after epoch {best["epoch"]} '
        f'(step {best["step"]}), last {validation[-1]["accuracy"]:.4f}'
    )
    log(f'metrics: {folder / workdir_lib.METRICS}')
    log(f'checkpoints: {folder / workdir_lib.CHECKPOINTS}')
    log(f'tensorboard: {folder / workdir_lib.TENSORBOARD}')
    log(f'evaluate: {_evaluate_command(folder)}')


def _evaluate_command(folder: epath.Path) -> str:
    """The command for a shell in which this interpreter may not be `python`."""
    python = 'python'
    if shutil.which(python) != sys.executable:
        python = os.path.relpath(sys.executable)
        if python.startswith(os.pardir):
            python = sys.executable
    return shlex.join([python, '-m', 'fmnist_jax.evaluate', f'--workdir={folder}'])
