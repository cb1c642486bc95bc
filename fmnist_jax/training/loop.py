"""The training loop: epochs of calls, with metrics and checkpoints between them."""

import collections
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.console import ProgressReport
from fmnist_jax.reporting.metrics import confusion_matrix, loss_and_accuracy
from fmnist_jax.training.checkpoint import Checkpoints, Record
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.profiling import Profiler
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
        profiler: Profiler,
        log: Callable[[str], None],
    ):
        self._experiment = experiment
        self._workdir = workdir
        self._checkpoints = checkpoints
        self._profiler = profiler
        self._log = log
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
          DivergenceError: the loss, a gradient or a parameter is no longer finite. The
            checkpoints are from before.
        """
        experiment = self._experiment
        self._startup = startup
        if (self._workdir / workdir_lib.TENSORBOARD).exists():
            # It may hold epochs that are trained again.
            self._events.write(record.metrics)
        first = int(state.step) // experiment.steps_per_epoch
        try:
            for epoch in range(first, experiment.config.num_epochs):
                state, record = self._run_epoch(epoch, state, record)
        finally:
            self._profiler.close()
        return state, record

    def _run_epoch(
        self, epoch: int, state: TrainState, record: Record
    ) -> tuple[TrainState, Record]:
        """Trains to the end of an epoch, from its beginning or from within."""
        state, inputs, report = self._start_epoch(epoch, state)
        end = (epoch + 1) * self._experiment.steps_per_epoch
        try:
            while int(state.step) < end:
                state, seconds = self._run_calls(state, inputs, report, end)
                record = record.after(seconds)
                if int(state.step) < end:
                    self._save(state, record)
        finally:
            report.close()
        return state, self._finish_epoch(epoch, state, record)

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

    def _run_calls(
        self, state: TrainState, inputs: tuple, report: ProgressReport, end: int
    ) -> tuple[TrainState, float]:
        """Trains up to step `end`, or until a checkpoint is due.

        Returns:
          The state, and the seconds that it took, without compilation and profiling.
        """
        step = int(state.step)
        pending: collections.deque[Progress] = collections.deque()
        started = time.perf_counter()
        while step < end and not (pending and self._save_is_due()):
            num_steps = min(self._experiment.steps_per_call, end - step)
            call, compiled = self._compiled(num_steps, state, inputs)
            started += compiled
            started += self._profiler.before_call(num_steps, state)
            called = time.perf_counter()
            state, progress = call(state, *inputs)
            step += num_steps
            pending.append(progress)
            if 'first_step' not in self._startup:
                jax.block_until_ready(state)
                self._write_startup(time.perf_counter() - called)
            if len(pending) > _CALLS_AHEAD:
                self._report(pending.popleft(), report)
        for progress in pending:
            self._report(progress, report)
        return state, time.perf_counter() - started

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

    def _report(self, progress: Progress, report: ProgressReport) -> None:
        """Waits for a call, stops if it diverged, shows how it went."""
        progress = jax.device_get(progress)
        if progress.bad_step:
            raise self._divergence(int(progress.bad_step))
        sums = progress.sums
        report.update(
            (int(progress.step) - 1) % self._experiment.steps_per_epoch + 1,
            float(sums.loss) / int(sums.count),
            int(sums.correct) / int(sums.count),
            self._experiment.config.batch_size,
        )

    def _divergence(self, bad_step: int) -> DivergenceError:
        epoch = (bad_step - 1) // self._experiment.steps_per_epoch + 1
        last = self._checkpoints.latest(self._log)
        kept = 'there is no checkpoint yet'
        if last is not None:
            kept = f'the last good checkpoint is step {last}'
        return DivergenceError(
            f'training diverged: the loss, a gradient or a parameter is not finite at '
            f'step {bad_step} (epoch {epoch}); {kept}. Try a lower '
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

    def _finish_epoch(self, epoch: int, state: TrainState, record: Record) -> Record:
        """Measures, writes and tells what an epoch came to."""
        step, seconds = int(state.step), record.epoch_seconds
        train = self._train_metrics(state)
        log_probabilities, labels = self._score(state, self._validation)
        validation = loss_and_accuracy(log_probabilities, labels)
        if not math.isfinite(train['loss'] + validation['loss']):
            raise self._divergence(step)
        start: dict[str, Any] = {'epoch': epoch + 1, 'step': step}
        speed = self._experiment.images_per_epoch / seconds
        timing = {'seconds': seconds, 'images_per_second': speed}
        record = record.with_epoch(
            {**start, 'split': 'train', **train, **timing},
            {**start, 'split': 'validation', **validation},
        )
        path = self._workdir / workdir_lib.METRICS
        workdir_lib.write_json_lines(path, record.metrics)
        matrix = None
        if epoch + 1 == self._experiment.config.num_epochs:
            num_classes = self._experiment.dataset.num_classes
            matrix = confusion_matrix(log_probabilities.argmax(1), labels, num_classes)
        self._events.write(record.metrics, matrix)
        self._save(state, record)
        self._log(
            f'epoch {epoch + 1}/{self._experiment.config.num_epochs}: '
            f'train loss {train["loss"]:.4f}, accuracy {train["accuracy"]:.4f}; '
            f'validation loss {validation["loss"]:.4f}, '
            f'accuracy {validation["accuracy"]:.4f}; '
            f'{seconds:.1f} s, {speed:,.0f} images/s'
        )
        return record

    def _train_metrics(self, state: TrainState) -> dict[str, float]:
        """Loss and accuracy as the config wants them, and how the updates went."""
        experiment, sums = self._experiment, jax.device_get(state.sums)
        if experiment.config.train_metrics == 'after_epoch':
            metrics = loss_and_accuracy(*self._score(state, self._train))
        else:
            count = int(sums.count)
            metrics = {
                'loss': float(sums.loss) / count,
                'accuracy': int(sums.correct) / count,
            }
        gradient_norm = float(sums.gradient_norm) / experiment.steps_per_epoch
        return {
            **metrics,
            'learning_rate': float(sums.learning_rate),
            'gradient_norm': gradient_norm,
        }

    def _score(
        self, state: TrainState, examples: Examples
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities in evaluation mode, each example's once, and labels."""
        log_probabilities = self._predict(state.params, state.batch_stats, examples)
        return log_probabilities, np.asarray(examples.labels)

    @functools.cached_property
    def _events(self) -> Any:
        # Imported when it is needed: the first step need not wait for it.
        from fmnist_jax.reporting.tensorboard import EventFile  # noqa: PLC0415

        experiment = self._experiment
        class_names = experiment.dataset.class_names
        return EventFile(self._workdir, experiment.config, class_names)
