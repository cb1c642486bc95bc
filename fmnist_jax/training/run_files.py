"""What training writes in a run's work folder, and when."""

import abc
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.record import Record
from fmnist_jax.training.state import TrainState

if TYPE_CHECKING:
    from fmnist_jax.reporting.tensorboard import EventFile


class RunFiles(abc.ABC):
    """Metrics, TensorBoard and checkpoints of one run."""

    @abc.abstractmethod
    def begin(self, record: Record) -> None:
        """Makes what is there agree with the record, before training goes on."""

    @abc.abstractmethod
    def write_startup(self, startup: dict[str, float]) -> None:
        """Writes what starting took, in seconds."""

    @abc.abstractmethod
    def write_metrics(self, record: Record, matrix: np.ndarray | None) -> None:
        """Writes the metrics at the end of an epoch.

        Args:
          record: with them.
          matrix: the last epoch's confusion matrix of the validation split.
        """

    @abc.abstractmethod
    def save(self, state: TrainState, record: Record) -> None:
        """Writes a checkpoint."""

    @abc.abstractmethod
    def describe_kept(self, log: Callable[[str], None]) -> str:
        """Which checkpoint can be gone on from, in a few words.

        Args:
          log: told of those that are not whole.
        """


class WorkFolderFiles(RunFiles):
    """In the run's work folder."""

    def __init__(
        self, experiment: Experiment, workdir: epath.Path, checkpoints: Checkpoints
    ):
        self._experiment = experiment
        self._workdir = workdir
        self._checkpoints = checkpoints

    def begin(self, record: Record) -> None:
        """See `RunFiles`."""
        workdir_lib.write_json_lines(
            self._workdir / workdir_lib.METRICS, record.metrics
        )
        if (self._workdir / workdir_lib.TENSORBOARD).exists():
            # It may hold epochs that are trained again.
            self._events.write(record.metrics)
        self._checkpoints.clean_up()

    def write_startup(self, startup: dict[str, float]) -> None:
        """See `RunFiles`."""
        workdir_lib.write_json(self._workdir / workdir_lib.STARTUP, startup)

    def write_metrics(self, record: Record, matrix: np.ndarray | None) -> None:
        """See `RunFiles`."""
        path = self._workdir / workdir_lib.METRICS
        workdir_lib.write_json_lines(path, record.metrics)
        self._events.write(record.metrics, matrix)

    def save(self, state: TrainState, record: Record) -> None:
        """See `RunFiles`."""
        keep_last = self._experiment.config.checkpoint.keep_last
        self._checkpoints.save(state, record, keep_last)

    def describe_kept(self, log: Callable[[str], None]) -> str:
        """See `RunFiles`."""
        try:
            step = self._checkpoints.latest(log)
        except UserError:
            return 'no checkpoint is whole'
        if step is None:
            return 'there is no checkpoint yet'
        return f'the last good checkpoint is step {step}'

    @functools.cached_property
    def _events(self) -> 'EventFile':
        # Imported when it is needed: the first step need not wait for it.
        from fmnist_jax.reporting.tensorboard import EventFile  # noqa: PLC0415

        class_names = self._experiment.dataset.class_names
        return EventFile(self._workdir, self._experiment.config, class_names)


class NoFiles(RunFiles):
    """Of a process that is not the first of those that train together: nothing."""

    def begin(self, record: Record) -> None:
        """Writes nothing."""

    def write_startup(self, startup: dict[str, float]) -> None:
        """Writes nothing."""

    def write_metrics(self, record: Record, matrix: np.ndarray | None) -> None:
        """Writes nothing."""

    def save(self, state: TrainState, record: Record) -> None:
        """Writes nothing."""

    def describe_kept(self, log: Callable[[str], None]) -> str:
        """The first process knows."""
        del log
        return 'the first process says which checkpoint is kept'
