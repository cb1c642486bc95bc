"""A whole run: config and work folder in, trained model out, resumed if need be."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.kernels import library
from fmnist_jax.reporting.commands import command
from fmnist_jax.reporting.console import (
    ProgressReport,
    SilentReport,
    parameter_table,
)
from fmnist_jax.reporting.console import log as console_log
from fmnist_jax.stopping import StopSignals
from fmnist_jax.training import hosts, provenance
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.loop import Trainer
from fmnist_jax.training.profiling import Profiler
from fmnist_jax.training.program import Program
from fmnist_jax.training.record import Record
from fmnist_jax.training.recorder import Recorder
from fmnist_jax.training.run import Run
from fmnist_jax.training.selection import selects_on_test
from fmnist_jax.training.start import Start, check_config
from fmnist_jax.training.state import TrainState
from fmnist_jax.training.teachers import digests


def train_and_evaluate(
    config: ConfigDict,
    workdir: epath.PathLike,
    *,
    profile: bool = False,
    import_seconds: float = 0.0,
    stop: StopSignals | None = None,
) -> TrainState:
    """Trains as `config` says and leaves everything in `workdir`.

    A work folder that holds a run of the same config is resumed, or left alone if it
    has finished. Of several processes that train together, the first alone reads and
    writes it.

    Args:
      config: see configs/default.py.
      workdir: a folder, local or in a bucket; made if absent.
      profile: whether to trace some steps into `profile/` of the work folder.
      import_seconds: what importing took, for `startup.json`.
      stop: entered; what may stop it.

    Returns:
      The state at the end.

    Raises:
      UserError: the config, the data or the work folder are not what they should be.
      DivergenceError: the loss, a gradient or a parameter is no longer finite.
      Stopped: a signal came; there is a checkpoint of where it stands.
    """
    configure_jax(config)
    folder = workdir_lib.locate(workdir)
    log = hosts.only_first(console_log)
    hosts.check_same('a config', _deciding_fields(config))
    hosts.from_first(lambda: _check_folder(config, folder))
    started = time.perf_counter()
    experiment = hosts.together(lambda: build_experiment(config, log=log))
    data_seconds = time.perf_counter() - started
    startup = {'imports': import_seconds, 'data': data_seconds}
    hosts.check_same('data', experiment.dataset.sha256)
    hosts.check_same('teachers', digests(experiment.teachers))
    run = Run(experiment, folder, log)
    with run.held():
        # Another may have trained there in the meantime.
        hosts.from_first(lambda: _check_folder(config, folder))
        hosts.from_first(lambda: provenance.check_data(experiment.dataset, folder))
        start = run.find_start()
        _print_start(experiment, start.state, folder, log)
        record = start.record
        if int(start.state.step) >= experiment.total_steps:
            log(f'This run has finished: {experiment.total_steps} steps are done.')
            state = start.state
        else:
            state, record = _train(run, start, startup, profile, stop)
    _print_end(folder, record, log)
    return state


def _deciding_fields(config: ConfigDict) -> dict[str, Any]:
    """What must be the same in all processes."""
    fields = config_lib.flatten(config_lib.to_dict(config))
    return {k: v for k, v in fields.items() if config_lib.decides_result(k)}


def _check_folder(config: ConfigDict, folder: epath.Path) -> None:
    workdir_lib.check(folder)
    check_config(config, folder)


def _train(
    run: Run,
    start: Start,
    startup: dict[str, float],
    profile: bool,
    stop: StopSignals | None,
) -> tuple[TrainState, Record]:
    """Trains to the end; the state and what was measured."""
    files = run.write_start(start)
    traced = run.folder / workdir_lib.PROFILE if profile and hosts.is_first() else None
    program = Program(run.experiment)
    recorder = Recorder(run.experiment, program, files, start.record, log=run.log)
    trainer = Trainer(
        program,
        [recorder],
        Profiler(traced, run.log),
        ProgressReport if hosts.is_first() else SilentReport,
        hosts.agree_to_stop(stop.is_set if stop else lambda: False),
    )
    with stop.deferred() if stop else contextlib.nullcontext():
        (state,) = trainer.run([start.state], startup)
    return state, recorder.record


def _print_start(
    experiment: Experiment,
    state: TrainState,
    folder: epath.Path,
    log: Callable[[str], None],
) -> None:
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
    if note := selects_on_test(experiment.config.data, experiment.dataset):
        log(note)
    log(f'work folder: {folder}')


def _print_end(folder: epath.Path, record: Record, log: Callable[[str], None]) -> None:
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
