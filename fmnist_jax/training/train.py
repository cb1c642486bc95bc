"""A whole run: config and work folder in, trained model out, resumed if need be."""

import time

import jax
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.kernels import library
from fmnist_jax.reporting.commands import command
from fmnist_jax.reporting.console import log, parameter_table
from fmnist_jax.training import experiment as experiment_lib
from fmnist_jax.training import provenance
from fmnist_jax.training.checkpoint import Checkpoints, Record
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.loop import Trainer
from fmnist_jax.training.profiling import Profiler
from fmnist_jax.training.program import Program
from fmnist_jax.training.recorder import Recorder
from fmnist_jax.training.selection import selects_on_test
from fmnist_jax.training.start import check_config, find_start, write_start
from fmnist_jax.training.state import TrainState


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
    check_config(config, folder)
    started = time.perf_counter()
    experiment = experiment_lib.build(config, log=log)
    data_seconds = time.perf_counter() - started
    provenance.check_data(experiment.dataset, folder)
    checkpoints = Checkpoints(folder)
    start = find_start(experiment, checkpoints, log)
    state, record = start.state, start.record
    _print_start(experiment, state, folder)
    if int(state.step) >= experiment.total_steps:
        log(f'This run has finished: {experiment.total_steps} steps are done.')
    else:
        write_start(experiment, folder, start, log)
        checkpoints.clean_up()
        startup = {'imports': import_seconds, 'data': data_seconds}
        profiler = Profiler(folder / workdir_lib.PROFILE if profile else None, log)
        program = Program(experiment)
        recorder = Recorder(experiment, program, folder, checkpoints, record, log=log)
        (state,) = Trainer(program, [recorder], profiler).run([state], startup)
        record = recorder.record
    _print_end(folder, record)
    return state


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
    if note := selects_on_test(experiment):
        log(note)
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
    log(f'evaluate: {command("evaluate", f"--workdir={folder}")}')
