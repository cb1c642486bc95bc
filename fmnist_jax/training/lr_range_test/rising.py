"""Training while the learning rate rises: losses at each rate, until they diverge."""

import collections
import dataclasses
import math
from collections.abc import Iterator

import jax
import numpy as np

from fmnist_jax.reporting.console import ProgressReport, log
from fmnist_jax.reporting.lr_range_test.measurements import Measurements
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.program import Program
from fmnist_jax.training.state import TrainState
from fmnist_jax.training.step import Progress

# As in training: no device waits for Python, and a stop does not wait long.
_CALLS_AHEAD = 2
# Lines of progress of a test per step.
_LINES = 20


def measure(
    experiment: Experiment, state: TrainState, measurements: Measurements
) -> None:
    """Trains from the first rate to the last, or until the loss diverges.

    Args:
      experiment: of the config to which the rise was applied.
      state: to begin with, on the host.
      measurements: filled with what the losses were.
    """
    run = _Run(experiment, state)
    if measurements.per == 'step':
        _rise_per_step(run, measurements)
    else:
        _rise_per_epoch(run, measurements)


class _Run:
    """Trains an experiment epoch by epoch, with other numbers in each if need be."""

    def __init__(self, experiment: Experiment, state: TrainState):
        self.experiment = experiment
        self._program = Program(experiment)
        self._state = self._program.stack([state])

    def run_epoch(
        self, epoch: int, num_epochs: int, num_steps: int, **numbers: float | int
    ) -> Iterator[Progress]:
        """Runs the first updates of an epoch, and gives the progress of each call.

        Args:
          epoch: from 0.
          num_epochs: in the whole test.
          num_steps: how many updates.
          **numbers: hyper-parameters that differ from the experiment's.
        """
        report = ProgressReport(
            epoch + 1,
            num_epochs,
            num_steps,
            0,
            self.experiment.config.logging.every_seconds,
        )
        try:
            for progress in self._run_calls(epoch, num_steps, numbers):
                sums = progress.sums
                report.update(
                    int(progress.step) - epoch * self.experiment.steps_per_epoch,
                    float(sums.loss) / int(sums.count),
                    int(sums.correct) / int(sums.count),
                    self.experiment.config.batch_size,
                )
                yield progress
        finally:
            report.close()

    def _run_calls(
        self, epoch: int, num_steps: int, numbers: dict[str, float | int]
    ) -> Iterator[Progress]:
        steps_per_call = self.experiment.steps_per_call
        state = self._program.begin_epoch(self._state, num_runs=1)
        inputs = self._program.inputs([self._with(numbers)], epoch)
        pending: collections.deque[Progress] = collections.deque()
        for done in range(0, num_steps, steps_per_call):
            size = min(steps_per_call, num_steps - done)
            call, _ = self._program.call(size, state, inputs)
            state, progress = call(state, *inputs)
            # The memory of the state before is gone.
            self._state = state
            pending.append(progress)
            if len(pending) > _CALLS_AHEAD:
                yield jax.device_get(pending.popleft())
        yield from map(jax.device_get, pending)

    def _with(self, numbers: dict[str, float | int]) -> Experiment:
        h = self.experiment.hyperparameters
        dtype = h.learning_rate.dtype
        arrays = {name: np.asarray(value, dtype) for name, value in numbers.items()}
        return dataclasses.replace(self.experiment, hyperparameters=h.replace(**arrays))

    def score_validation(self) -> dict[str, float]:
        """Loss and accuracy on the validation split, of the weights as they are.

        Averages (`ema_decay`) would be of several rates.
        """
        examples = self._program.validation
        log_probabilities = self._program.predict(
            self._state.params, self._state.batch_stats, examples
        )
        return loss_and_accuracy(log_probabilities, np.asarray(examples.labels))


def _rise_per_step(run: _Run, measurements: Measurements) -> None:
    """Measures the loss of each update before it."""
    steps_per_epoch = run.experiment.steps_per_epoch
    num_steps = measurements.num_points
    num_epochs = math.ceil(num_steps / steps_per_epoch)
    for epoch in range(num_epochs):
        left = num_steps - epoch * steps_per_epoch
        size = min(left, steps_per_epoch)
        # The last update has the last rate.
        calls = run.run_epoch(epoch, num_epochs, size, decay_steps=num_steps - 1)
        for progress in calls:
            first = int(progress.step) - len(progress.losses) + 1
            for step, loss in enumerate(progress.losses.tolist(), first):
                is_bad = 0 < progress.bad_step <= step
                if not measurements.add(math.nan if is_bad else loss):
                    return
                if step * _LINES // num_steps > (step - 1) * _LINES // num_steps:
                    log(f'step {step}/{num_steps}: {measurements.last()}')


def _rise_per_epoch(run: _Run, measurements: Measurements) -> None:
    """Measures the loss of each epoch while the weights change, and validation."""
    num_epochs = measurements.num_points
    for epoch, rate in enumerate(measurements.rates):
        size = run.experiment.steps_per_epoch
        for progress in run.run_epoch(epoch, num_epochs, size, learning_rate=rate):
            if progress.bad_step:
                measurements.add(math.nan)
                return
        loss = float(progress.sums.loss) / int(progress.sums.count)
        scores = run.score_validation()
        if not measurements.add(loss, scores['loss'], scores['accuracy']):
            return
        log(f'epoch {epoch + 1}/{num_epochs}: {measurements.last()}')
