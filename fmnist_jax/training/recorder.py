"""What is measured of a run at the end of an epoch, and written in its work folder."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.metrics import confusion_matrix, loss_and_accuracy
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.program import Program
from fmnist_jax.training.record import Record
from fmnist_jax.training.run_files import RunFiles
from fmnist_jax.training.state import TrainState


class Recorder:
    """Keeps one run's record: metrics, TensorBoard, checkpoints, a line an epoch.

    Attributes:
      experiment: the run's.
      record: of the run so far.
      divergence: why the run cannot go on; None while it can.
    """

    def __init__(
        self,
        experiment: Experiment,
        program: Program,
        files: RunFiles,
        record: Record,
        *,
        log: Callable[[str], None],
        on_divergence: Callable[[DivergenceError], None] = lambda error: None,
    ):
        """Prepares.

        Args:
          experiment: the run's.
          program: that trains it.
          files: of its work folder.
          record: of the run so far.
          log: told a line an epoch.
          on_divergence: told at once, where other runs go on.
        """
        self.experiment = experiment
        self.record = record
        self.divergence: DivergenceError | None = None
        self._program = program
        self._files = files
        self._log = log
        self._on_divergence = on_divergence

    def begin(self) -> None:
        """Makes what is there agree with the record, before training goes on."""
        self._files.begin(self.record)

    def add_seconds(self, seconds: float) -> None:
        """Counts seconds of training in the epoch that is under way."""
        self.record = self.record.after(seconds)

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint."""
        self._files.save(state, self.record)

    def write_startup(self, startup: dict[str, float]) -> None:
        """Writes what starting took, in seconds."""
        self._files.write_startup(startup)

    def diverged(self, bad_step: int) -> None:
        """Notes the first update after which something was not finite."""
        epoch = (bad_step - 1) // self.experiment.steps_per_epoch + 1
        kept = self._files.describe_kept(self._log)
        self.divergence = DivergenceError(
            f'training diverged: the loss, a gradient or a parameter is not finite at '
            f'step {bad_step} (epoch {epoch}); {kept}. Try a lower '
            '--config.optimizer.learning_rate'
        )
        self._on_divergence(self.divergence)

    def finish_epoch(self, epoch: int, state: TrainState) -> None:
        """Measures, writes and tells what an epoch (from 0) came to."""
        step, seconds = int(state.step), self.record.epoch_seconds
        train = self._train_metrics(state)
        log_probabilities, labels = self._score(state, self._program.validation)
        validation = loss_and_accuracy(log_probabilities, labels)
        if not math.isfinite(train['loss'] + validation['loss']):
            self.diverged(step)
            return
        start: dict[str, Any] = {'epoch': epoch + 1, 'step': step}
        speed = self.experiment.images_per_epoch / seconds
        timing = {'seconds': seconds, 'images_per_second': speed}
        self.record = self.record.with_epoch(
            {**start, 'split': 'train', **train, **timing},
            {**start, 'split': 'validation', **validation},
        )
        matrix = None
        if epoch + 1 == self.experiment.config.num_epochs:
            num_classes = self.experiment.dataset.num_classes
            matrix = confusion_matrix(log_probabilities.argmax(1), labels, num_classes)
        self._files.write_metrics(self.record, matrix)
        self.save(state)
        self._log(
            f'epoch {epoch + 1}/{self.experiment.config.num_epochs}: '
            f'train loss {train["loss"]:.4f}, accuracy {train["accuracy"]:.4f}; '
            f'validation loss {validation["loss"]:.4f}, '
            f'accuracy {validation["accuracy"]:.4f}; '
            f'{seconds:.1f} s, {speed:,.0f} images/s'
        )

    def _train_metrics(self, state: TrainState) -> dict[str, float]:
        """Loss and accuracy as the config wants them, and how the updates went."""
        sums = jax.device_get(state.sums)
        if self.experiment.config.train_metrics == 'after_epoch':
            metrics = loss_and_accuracy(*self._score(state, self._program.train))
        else:
            count = int(sums.count)
            metrics = {
                'loss': float(sums.loss) / count,
                'accuracy': int(sums.correct) / count,
            }
        gradient_norm = float(sums.gradient_norm) / self.experiment.steps_per_epoch
        return {
            **metrics,
            'learning_rate': float(sums.learning_rate),
            'gradient_norm': gradient_norm,
        }

    def _score(
        self, state: TrainState, examples: Examples
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities in evaluation mode, each example's once, and labels."""
        predict = self._program.predict
        log_probabilities = predict(**state.scored, examples=examples)
        return log_probabilities, np.asarray(examples.labels)
