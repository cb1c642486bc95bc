"""The training loop: epochs of calls, with metrics and checkpoints between them."""

import collections
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.console import ProgressReport
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.training.checkpoint import Checkpoints, Record
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.state import EpochSums, TrainState
from fmnist_jax.training.step import Progress

# Calls handed to the devices ahead of the one whose progress is read: enough that no
# device waits for Python, few enough that a checkpoint or a stop does not wait long.
_CALLS_AHEAD = 2


class Trainer:
    """Trains one experiment in one work folder."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: epath.Path,
        checkpoints: Checkpoints,
        log: Callable[[str], None],
    ):
        self._experiment = experiment
        self._workdir = workdir
        self._log = log
        self._checkpoints = checkpoints
        self._calls: dict[int, Callable] = {}
        self._compile_seconds = 0.0
        data, dataset = experiment.config.data, experiment.dataset
        self._train = experiment.place(*dataset.split(data.train_split))
        self._validation = experiment.place(*dataset.split(data.validation_split))
        self._predict = experiment.make_predict()
        self._last_save = time.monotonic()

    def run(
        self, state: TrainState, record: Record, startup: dict[str, float]
    ) -> tuple[TrainState, Record]:
        """Trains from `state` to the end.

        Args:
          state: new, or restored between two calls.
          record: what came with it.
          startup: seconds of what came before; completed and written after the first
            call.

        Raises:
          DivergenceError: the loss or a parameter is no longer finite. The checkpoints
            are from before.
        """
        experiment = self._experiment
        self._startup = startup
        first = int(state.step) // experiment.steps_per_epoch
        for epoch in range(first, experiment.config.num_epochs):
            state = self._run_epoch(epoch, state, record)
        return state, record

    def _start_epoch(
        self, epoch: int, state: TrainState
    ) -> tuple[TrainState, tuple, ProgressReport]:
        """The state to go on from, what calls take besides it, and the progress."""
        experiment, config = self._experiment, self._experiment.config
        first_step = epoch * experiment.steps_per_epoch
        done = int(state.step) - first_step
        if done == 0:
            zeros = EpochSums.zeros(experiment.functions.precision.param)
            state = state.replace(sums=experiment.group.replicate(zeros))
        inputs = (
            experiment.hyperparameters,
            self._train,
            experiment.group.replicate(np.int32(first_step)),
            experiment.epoch_order(epoch),
        )
        report = ProgressReport(
            epoch + 1,
            config.num_epochs,
            experiment.steps_per_epoch,
            done,
            config.logging.every_seconds,
        )
        return state, inputs, report

    def _run_epoch(self, epoch: int, state: TrainState, record: Record) -> TrainState:
        """Trains to the end of an epoch, from its beginning or from within."""
        state, inputs, report = self._start_epoch(epoch, state)
        first_step = epoch * self._experiment.steps_per_epoch
        end = first_step + self._experiment.steps_per_epoch
        step = int(state.step)
        pending: collections.deque[Progress] = collections.deque()
        started = time.perf_counter()
        try:
            while step < end:
                num_steps = min(self._experiment.steps_per_call, end - step)
                call, compiled = self._compiled(num_steps, state, inputs)
                started += compiled
                called = time.perf_counter()
                state, progress = call(state, *inputs)
                step += num_steps
                pending.append(progress)
                if 'first_step' not in self._startup:
                    jax.block_until_ready(state)
                    self._write_startup(time.perf_counter() - called)
                if len(pending) > _CALLS_AHEAD:
                    self._report(pending.popleft(), report, first_step)
                if self._save_is_due() and step < end:
                    record.epoch_seconds += self._drain(
                        pending, report, first_step, started
                    )
                    self._save(state, record)
                    started = time.perf_counter()
            record.epoch_seconds += self._drain(pending, report, first_step, started)
        finally:
            report.close()
        self._finish_epoch(epoch, state, record)
        return state

    def _compiled(
        self, num_steps: int, state: TrainState, inputs: tuple
    ) -> tuple[Callable, float]:
        """The call of so many steps, and the seconds it took to compile, if now."""
        if num_steps in self._calls:
            return self._calls[num_steps], 0.0
        started = time.perf_counter()
        call = self._experiment.train_call(num_steps)
        self._calls[num_steps] = call.lower(state, *inputs).compile()
        seconds = time.perf_counter() - started
        self._compile_seconds += seconds
        return self._calls[num_steps], seconds

    def _write_startup(self, first_step: float) -> None:
        self._startup |= {
            'compilation': self._compile_seconds,
            'first_step': first_step,
        }
        workdir_lib.write_json(self._workdir / workdir_lib.STARTUP, self._startup)

    def _report(self, progress: Progress, report: ProgressReport, first: int) -> None:
        """Waits for a call, stops if it diverged, shows how it went."""
        progress = jax.device_get(progress)
        if progress.bad_step:
            raise self._divergence(int(progress.bad_step))
        sums = progress.sums
        report.update(
            int(progress.step) - first,
            float(sums.loss) / int(sums.count),
            int(sums.correct) / int(sums.count),
            self._experiment.config.batch_size,
        )

    def _drain(
        self,
        pending: collections.deque[Progress],
        report: ProgressReport,
        first_step: int,
        started: float,
    ) -> float:
        """Waits for all the calls; returns the seconds since `started`."""
        while pending:
            self._report(pending.popleft(), report, first_step)
        return time.perf_counter() - started

    def _divergence(self, bad_step: int) -> DivergenceError:
        epoch = (bad_step - 1) // self._experiment.steps_per_epoch + 1
        last = self._checkpoints.latest(self._log)
        kept = 'there is no checkpoint yet'
        if last is not None:
            kept = f'the last good checkpoint is step {last}'
        return DivergenceError(
            f'training diverged: the loss or a parameter is not finite at step '
            f'{bad_step} (epoch {epoch}); {kept}. Try a lower '
            '--config.optimizer.learning_rate'
        )

    def _save_is_due(self) -> bool:
        every = self._experiment.config.checkpoint.every_minutes
        return time.monotonic() - self._last_save >= 60 * every

    def _save(self, state: TrainState, record: Record) -> None:
        self._checkpoints.save(
            state, record, self._experiment.config.checkpoint.keep_last
        )
        self._last_save = time.monotonic()

    def _finish_epoch(self, epoch: int, state: TrainState, record: Record) -> None:
        sums = jax.device_get(state.sums)
        count, step = int(sums.count), int(state.step)
        validation = loss_and_accuracy(
            self._predict(state.params, state.batch_stats, self._validation),
            np.asarray(self._validation.labels),
        )
        if not math.isfinite(validation['loss']):
            raise self._divergence(step)
        start: dict[str, Any] = {'epoch': epoch + 1, 'step': step}
        seconds = record.epoch_seconds
        record.metrics += [
            {
                **start,
                'split': 'train',
                'loss': float(sums.loss) / count,
                'accuracy': int(sums.correct) / count,
                'seconds': seconds,
                'images_per_second': count / seconds,
            },
            {**start, 'split': 'validation', **validation},
        ]
        record.epoch_seconds = 0.0
        train, _ = record.metrics[-2:]
        workdir_lib.write_json_lines(
            self._workdir / workdir_lib.METRICS, record.metrics
        )
        self._save(state, record)
        self._log(
            f'epoch {epoch + 1}/{self._experiment.config.num_epochs}: '
            f'train loss {train["loss"]:.4f}, accuracy {train["accuracy"]:.4f}; '
            f'validation loss {validation["loss"]:.4f}, '
            f'accuracy {validation["accuracy"]:.4f}; '
            f'{seconds:.1f} s, {train["images_per_second"]:,.0f} images/s'
        )
