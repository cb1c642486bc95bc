"""Runs of a sweep, each trained in its own work folder from where it stands."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

from etils import epath
from ml_collections import ConfigDict

from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.console import EpochReport
from fmnist_jax.training.build import with_numbers_of
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.loop import Trainer
from fmnist_jax.training.profiling import Profiler
from fmnist_jax.training.program import Program
from fmnist_jax.training.recorder import Recorder
from fmnist_jax.training.run import Run


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is to be trained, from where it stands.

    Attributes:
      config: of the run.
      folder: its work folder.
    """

    config: ConfigDict
    folder: epath.Path


@dataclasses.dataclass(frozen=True)
class Listener:
    """Who is told how jobs go, maybe from several threads at once.

    Attributes:
      begun: told of jobs when their training begins.
      ended: told of a job when it ends, and why if it diverged, though others that are
        trained with it go on.
      progress: of jobs that are trained together, makes what makes what is told how
        an epoch goes; see `Trainer`.
      log: told in one line what else happens.
    """

    begun: Callable[[Sequence[Job]], None]
    ended: Callable[[Job, DivergenceError | None], None]
    progress: Callable[[Sequence[Job]], Callable[..., EpochReport]]
    log: Callable[[str], None]


def train_jobs(
    program: Program,
    experiment: Experiment,
    jobs: Sequence[Job],
    listener: Listener,
    should_stop: Callable[[], bool],
) -> None:
    """Trains jobs that stand at the same step, by one program.

    Args:
      program: mapped over as many as there are jobs, if several.
      experiment: of any of them.
      jobs: to be trained together.
      listener: told how they go.
      should_stop: see `Trainer`.
    """
    listener.begun(jobs)
    started = time.perf_counter()
    states, recorders = [], []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            own = with_numbers_of(experiment, job.config)
            run = Run(own, job.folder, listener.log)
            stack.enter_context(run.held())
            start = run.find_start()
            files = run.write_start(start)
            states.append(start.state)
            # The sweep has a line of its own for what each epoch came to.
            recorders.append(
                Recorder(
                    own,
                    program,
                    files,
                    start.record,
                    log=lambda _: None,
                    on_divergence=functools.partial(listener.ended, job),
                )
            )
        startup = {'data': time.perf_counter() - started}
        trainer = Trainer(
            program,
            recorders,
            Profiler(None, listener.log),
            listener.progress(jobs),
            should_stop,
        )
        # Raised when all have diverged, of which the listener was told.
        with contextlib.suppress(DivergenceError):
            trainer.run(states, startup)
    for job, recorder in zip(jobs, recorders, strict=True):
        if recorder.divergence is None:
            listener.ended(job, None)
