"""Ways to train several runs that differ only in numbers.

In sequence, on all devices; one on each device, several at a time; or mapped over, all
as one program (`vmap`). What comes out is the same up to rounding.
"""

import abc
import concurrent.futures
import functools
import queue
import threading
from collections.abc import Callable, Sequence
from types import MappingProxyType

import jax
from ml_collections import ConfigDict

from fmnist_jax.stopping import Stopped
from fmnist_jax.training.build import build_experiment, with_numbers_of
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.parallel import DeviceGroup
from fmnist_jax.training.program import Program, time_calls
from fmnist_jax.training.sweep.jobs import Job, Listener, train_jobs

# Runs of one program on a CPU, whose memory must hold what all of them compute.
_MOST_MAPPED_CPU = 8


class RunMapping(abc.ABC):
    """A way to train jobs that share a compiled step.

    Attributes:
      at_once: how many jobs it trains at a time.
    """

    at_once: int

    def __init__(self, experiment: Experiment, configs: Sequence[ConfigDict]):
        """Prepares.

        Args:
          experiment: of any of the configs.
          configs: of the jobs.
        """
        self._experiment = experiment
        self._configs = configs

    @abc.abstractmethod
    def seconds_per_step(self) -> float:
        """What an update of one job takes, measured by updates that are dropped."""

    @abc.abstractmethod
    def train(
        self, jobs: Sequence[Job], listener: Listener, should_stop: Callable[[], bool]
    ) -> None:
        """Trains jobs that stand at the same step to their ends.

        Args:
          jobs: of those configs.
          listener: told how they go.
          should_stop: asked, maybe by several threads, after each call.

        Raises:
          Stopped: it should stop; there are checkpoints of where the jobs stand.
        """


class InSequence(RunMapping):
    """One job after another, each on all devices that divide its batch."""

    at_once = 1

    @functools.cached_property
    def _program(self) -> Program:
        return Program(self._experiment)

    def seconds_per_step(self) -> float:
        """See `RunMapping`."""
        return time_calls(self._program, _vary(self._experiment, self._configs[:1]))

    def train(
        self, jobs: Sequence[Job], listener: Listener, should_stop: Callable[[], bool]
    ) -> None:
        """See `RunMapping`."""
        for job in jobs:
            train_jobs(self._program, self._experiment, [job], listener, should_stop)


class OnePerDevice(RunMapping):
    """A job on each device, with its whole batch, as many at a time as devices.

    Those that would leave a device idle are trained on all devices, in sequence.
    """

    def __init__(self, experiment: Experiment, configs: Sequence[ConfigDict]):
        """See `RunMapping`."""
        super().__init__(experiment, configs)
        self._experiments = [
            build_experiment(
                experiment.config, DeviceGroup([device]), dataset=experiment.dataset
            )
            for device in jax.local_devices()[: len(configs)]
        ]
        self._rest = InSequence(experiment, configs)
        self.at_once = len(self._experiments)

    @functools.cached_property
    def _programs(self) -> list[Program]:
        return [Program(experiment) for experiment in self._experiments]

    def seconds_per_step(self) -> float:
        """See `RunMapping`."""
        ready = threading.Barrier(self.at_once)
        varied = [_vary(one, self._configs[:1]) for one in self._experiments]
        with concurrent.futures.ThreadPoolExecutor(self.at_once) as pool:
            timings = [
                pool.submit(time_calls, program, experiments, ready)
                for program, experiments in zip(self._programs, varied, strict=True)
            ]
        errors = [error for timing in timings if (error := timing.exception())]
        if errors:
            # Of the one that failed, not of those that waited for it.
            raise min(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError))
        return max(timing.result() for timing in timings) / self.at_once

    def train(
        self, jobs: Sequence[Job], listener: Listener, should_stop: Callable[[], bool]
    ) -> None:
        """See `RunMapping`."""
        count = len(jobs) - len(jobs) % self.at_once
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs[:count]:
            waiting.put(job)
        failed = threading.Event()

        def stopping() -> bool:
            return failed.is_set() or should_stop()

        def work(program: Program, experiment: Experiment) -> None:
            while not stopping():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                train_jobs(program, experiment, [job], listener, stopping)

        with concurrent.futures.ThreadPoolExecutor(self.at_once) as pool:
            workers = [
                pool.submit(work, *pair)
                for pair in zip(self._programs, self._experiments, strict=True)
            ]
            try:
                for worker in concurrent.futures.as_completed(workers):
                    worker.result()
            except BaseException:
                # The others stop, too.
                failed.set()
                raise
        if not waiting.empty():
            raise Stopped('stopped between two runs')
        self._rest.train(jobs[count:], listener, should_stop)


class AsOneProgram(RunMapping):
    """Many jobs at once, by a program that is mapped over them, on all devices."""

    def __init__(self, experiment: Experiment, configs: Sequence[ConfigDict]):
        """See `RunMapping`."""
        is_cpu = experiment.group.is_cpu
        most = _MOST_MAPPED_CPU if is_cpu else len(configs)
        super().__init__(experiment, configs[:most])
        self.at_once = len(self._configs)

    @functools.cached_property
    def _program(self) -> Program:
        return Program(self._experiment, num_mapped=self.at_once)

    def seconds_per_step(self) -> float:
        """See `RunMapping`."""
        varied = _vary(self._experiment, self._configs)
        return time_calls(self._program, varied) / self.at_once

    def train(
        self, jobs: Sequence[Job], listener: Listener, should_stop: Callable[[], bool]
    ) -> None:
        """See `RunMapping`."""
        for first in range(0, len(jobs), self.at_once):
            part = jobs[first : first + self.at_once]
            whole = len(part) == self.at_once
            program = self._program if whole else Program(self._experiment, len(part))
            train_jobs(program, self._experiment, part, listener, should_stop)


MAPPINGS: MappingProxyType[str, type[RunMapping]] = MappingProxyType(
    {'sequence': InSequence, 'devices': OnePerDevice, 'vmap': AsOneProgram}
)


def _vary(experiment: Experiment, configs: Sequence[ConfigDict]) -> list[Experiment]:
    return [with_numbers_of(experiment, one) for one in configs]
