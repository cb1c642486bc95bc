"""A run in its work folder: held, gone on from, written to."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from etils import epath

from fmnist_jax import locking
from fmnist_jax.training import hosts
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.run_files import NoFiles, RunFiles, WorkFolderFiles
from fmnist_jax.training.start import Start, find_start, write_start


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as far as its work folder is concerned.

    Attributes:
      experiment: of its config.
      folder: its work folder.
      log: told in one line what happens.
    """

    experiment: Experiment
    folder: epath.Path
    log: Callable[[str], None]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training in the folder.

        Raises:
          UserError: another holds it.
        """
        with contextlib.ExitStack() as stack:

            def hold() -> None:
                if hosts.is_first():
                    stack.enter_context(locking.hold(self.folder))

            hosts.together(hold)
            yield

    def find_start(self) -> Start:
        """See `start.find_start`; to be called while the folder is held."""
        return find_start(self.experiment, Checkpoints(self.folder), self.log)

    def write_start(self, start: Start) -> RunFiles:
        """Writes what is known before training; what writes the rest."""
        if not hosts.is_first():
            return NoFiles()
        write_start(self.experiment, self.folder, start, self.log)
        checkpoints = Checkpoints(self.folder)
        return WorkFolderFiles(self.experiment, self.folder, checkpoints)
