"""Where each member of a sweep stands, kept in `sweep.json` as it changes."""

import dataclasses
import threading
from collections.abc import Sequence

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import DivergenceError
from fmnist_jax.grid import Member
from fmnist_jax.reporting import learning
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.sweep.outcomes import Outcome, write_outcomes
from fmnist_jax.reporting.sweep.progress import SweepProgress
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.sweep.jobs import Job, Listener


@dataclasses.dataclass(frozen=True)
class Standing:
    """A member and how far it is.

    Attributes:
      member: of the sweep.
      experiment: the member's.
      step: of its latest whole checkpoint; 0 if there is none.
    """

    member: Member
    experiment: Experiment
    step: int

    @property
    def steps_left(self) -> int:
        """Updates to its end."""
        return self.experiment.total_steps - self.step

    @property
    def images_left(self) -> int:
        """Examples to train on to its end."""
        return self.steps_left * self.experiment.config.batch_size


class SweepStatus:
    """What becomes of each member; to be told of changes from any thread.

    That a member has diverged is kept in its work folder: it is not tried again.

    Attributes:
      folder: the sweep's.
    """

    def __init__(
        self,
        folder: epath.Path,
        members: Sequence[Member],
        experiments: Sequence[Experiment],
    ):
        """Finds out where members stand, from their work folders.

        Raises:
          UserError: a member's `divergence.json` is damaged.
        """
        self.folder = folder
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}
        self._standings: dict[str, Standing] = {}
        for member, experiment in zip(members, experiments, strict=True):
            workdir = folder / member.name
            step = Checkpoints(workdir).latest(log) or 0
            standing = Standing(member, experiment, step)
            self._standings[member.name] = standing
            self._outcomes[member.name] = self._outcome(standing, 'pending')
        self._progress = SweepProgress(
            {one.member.name: one.images_left for one in self.pending()},
            members[0].config.logging.every_seconds,
        )
        self._write()

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all members, in the grid's order."""
        return list(self._outcomes.values())

    def pending(self) -> list[Standing]:
        """Members that have neither finished nor diverged."""
        return [
            self._standings[name]
            for name, outcome in self._outcomes.items()
            if outcome.status not in ('finished', 'diverged')
        ]

    def listener(self) -> Listener:
        """What is told how training goes."""
        return Listener(
            begun=self._begun,
            ended=self._ended,
            progress=lambda jobs: self._progress.of(_names(jobs)),
            log=log,
        )

    def close(self) -> None:
        """Takes the progress bar away."""
        self._progress.close()

    def _begun(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                standing = self._standings[job.folder.name]
                self._outcomes[job.folder.name] = self._outcome(standing, 'running')
            self._write()

    def _ended(self, job: Job, divergence: DivergenceError | None) -> None:
        name = job.folder.name
        status = 'diverged' if divergence else 'finished'
        if divergence:
            message = {'message': str(divergence)}
            workdir_lib.write_json(job.folder / workdir_lib.DIVERGENCE, message)
        outcome = self._outcome(self._standings[name], status)
        with self._lock:
            self._outcomes[name] = outcome
            self._write()
        accuracy = outcome.validation_accuracy
        best = 'no epoch' if accuracy is None else f'best validation {accuracy:.4f}'
        self._progress.end_run(name, f'{status}: {best}')

    def _outcome(self, standing: Standing, status: str) -> Outcome:
        """As the work folder's latest checkpoint tells."""
        workdir = self.folder / standing.member.name
        checkpoints = Checkpoints(workdir)
        step = checkpoints.latest(log)
        lines = checkpoints.read_record(step).metrics if step is not None else ()
        scored = learning.of_split(lines, 'validation')
        path, error = workdir / workdir_lib.DIVERGENCE, None
        if path.exists():
            status = 'diverged'
            error = workdir_lib.read_json_object(path).get('message')
        elif status == 'pending' and (step or 0) >= standing.experiment.total_steps:
            status = 'finished'
        return Outcome(
            workdir=str(workdir),
            overrides=standing.member.overrides,
            seed=standing.member.seed,
            status=status,
            validation_accuracy=learning.best(lines)['accuracy'] if scored else None,
            error=error,
        )

    def _write(self) -> None:
        write_outcomes(self.folder, self.outcomes)


def _names(jobs: Sequence[Job]) -> list[str]:
    return [job.folder.name for job in jobs]
