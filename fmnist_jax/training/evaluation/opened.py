"""Runs opened to be evaluated: work folders in, models and their data out."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Float
from ml_collections import ConfigDict

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.learning import Line
from fmnist_jax.training import provenance, trained
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.selection import selection


@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """A run of which one checkpoint is evaluated.

    Attributes:
      folder: its work folder.
      config: of the run, its data where they are now.
      checkpoint: as it was asked for: `best`, `last` or a step.
      step: the checkpoint's, completed updates.
    """

    folder: epath.Path
    config: ConfigDict
    checkpoint: str
    step: int

    @property
    def name(self) -> str:
        """The work folder's."""
        return workdir_lib.absolute(self.folder).name

    def load_data(self) -> Dataset:
        """The data of the run.

        Raises:
          UserError: they cannot be had, or are not those that it was trained on.
        """
        dataset = load_dataset(self.config.data, log)
        provenance.check_data(dataset, self.folder)
        return dataset

    def restore(self, dataset: Dataset) -> trained.TrainedModel:
        """The model of the checkpoint.

        Raises:
          UserError: it does not fit the run's config.
        """
        return trained.restore(
            self.folder,
            self.config,
            self.step,
            dataset.class_names,
            dataset.image_shape,
        )

    def selection(self, dataset: Dataset, spec: str) -> dict[str, Any]:
        """See `selection.selection`."""
        return selection(dataset, spec, self.folder, self.checkpoint)

    def metrics_lines(self) -> Sequence[Line]:
        """The epochs' metrics up to the last checkpoint."""
        checkpoints = Checkpoints(self.folder)
        return checkpoints.read_record(checkpoints.latest(lambda _: None)).metrics

    def check_finite(
        self, log_probabilities: Float[np.ndarray, 'n classes'], split: str
    ) -> None:
        """Checks what the model says of a split.

        Raises:
          UserError: some of it is not finite.
        """
        if not np.isfinite(log_probabilities).all():
            raise UserError(
                f'the checkpoint of step {self.step} of {self.folder} gives '
                f'probabilities that are not finite on the {split} split; try another '
                'with --checkpoint'
            )


def open_runs(
    workdirs: Sequence[epath.PathLike],
    checkpoint: str = 'best',
    *,
    data_dir: str | None = None,
    idx_dir: str | None = None,
) -> list[OpenedRun]:
    """Opens runs, all of which are to be evaluated in this process.

    Args:
      workdirs: of the runs.
      checkpoint: of each: `best`, `last` or a step.
      data_dir: where data are prepared, if not where the runs had them.
      idx_dir: a folder of IDX files, likewise.

    Raises:
      UserError: there is no such run or checkpoint.
    """
    runs: list[OpenedRun] = []
    for workdir in workdirs:
        folder = workdir_lib.locate(workdir)
        config = trained.read_config(folder, log)
        if data_dir is not None:
            config.data.data_dir = data_dir
        if idx_dir is not None:
            config.data.idx_dir = idx_dir
        if runs:
            # A process has one number of virtual devices, whatever each run had.
            config.num_cpu_devices = jax.config.jax_num_cpu_devices
        configure_jax(config)
        step = Checkpoints(folder).find(checkpoint, log)
        runs.append(OpenedRun(folder, config, checkpoint, step))
    return runs
