"""Competitors side by side: checked to compute the same, then timed turn by turn.

Each has a process of its own, which waits on a pipe while another has its turn.
"""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.idle import IdleWatch
from benchmarks.process import BenchmarkError, Entrant, MissingError, Process
from benchmarks.summary import (
    MATRIX_PRODUCT,
    OURS,
    Round,
    largest_difference,
    per_second,
    summarize,
)
from benchmarks.workloads import Workload

# The losses of so many first steps are compared, relative to this project's. What
# float32 does to them (JAX 0.10.2, PyTorch 2.13, Keras 3.15, all the workloads):
# - The first, of the initial weights, differs by up to 3e-5, where PyTorch's BatchNorm
#   has channels last; elsewhere by 6e-6. Half precision would make that 1e-3.
# - Training magnifies it, in 20 steps to 4e-4: rounding of the initial weights alone
#   does so. Adam in Keras adds eps elsewhere, which counts where gradients are small:
#   9e-4. A learning rate 1 % off would make that 1e-3 to 6e-3.
CHECK_STEPS = 20
FIRST_TOLERANCE = 1e-4
TOLERANCE = 2e-3
# A competitor that uses more than this share of a core while it waits is told of.
_IDLE_CPU = 0.02

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long it is measured.

    Attributes:
      rounds: turns of each competitor.
      seconds: about how long a turn lasts; less where an epoch is over before.
    """

    rounds: int
    seconds: float


def measure(
    workload: Workload, entrants: Sequence[Entrant], settings: Settings, log: Log
) -> dict[str, Any]:
    """Measures one workload.

    Args:
      workload: what is trained.
      entrants: this project (`OURS`) first; peers; `MATRIX_PRODUCT`.
      settings: how long.
      log: told in one line what happens.

    Returns:
      Plain data: all losses and measurements, their summary, and who was left out.

    Raises:
      BenchmarkError: a competitor failed, or its losses are not this project's.
      UserError: an interpreter cannot be run.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contest = _Contest(workload, folder, settings, log)
        for entrant in entrants:
            process = Process(entrant, folder / f'{entrant.name}.log')
            stack.enter_context(contextlib.closing(process))
            contest.admit(entrant, process)
        contest.run()
        return contest.result()


class _Contest:
    """One workload's competitors, from their start to their last measurement."""

    def __init__(self, workload: Workload, folder: Path, settings: Settings, log: Log):
        self._workload = workload
        self._folder = folder
        self._settings = settings
        self._log = log
        # Of the model and the data, as this project tells them.
        self._facts: dict[str, Any] = {}
        # Each by the competitor's name.
        self._processes: dict[str, Process] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._left_out: dict[str, str] = {}
        self._losses: dict[str, list[float]] = {}
        self._steps: dict[str, int] = {}
        self._idle_cpu: dict[str, float] = {}
        self._rounds: list[dict[str, dict[str, float]]] = []

    def admit(self, entrant: Entrant, process: Process) -> None:
        """Starts a competitor, checks its losses, and finds how many steps to time."""
        name, started = entrant.name, time.perf_counter()
        try:
            self._versions[name] = process.call(
                'start',
                workload=str(self._workload),
                folder=str(self._folder),
                threads=machine.THREADS,
            )
        except MissingError as error:
            if name == OURS:
                raise BenchmarkError(f'{name}: {error}') from error
            self._left_out[name] = f'{error}; {entrant.install}'
            self._log(f'{name} is left out: {self._left_out[name]}')
            return
        if name == OURS:
            self._facts = process.call('write_start')
        if name != MATRIX_PRODUCT:
            self._check_losses(name, process)
        self._steps[name] = self._calibrate(process)
        self._processes[name] = process
        seconds = time.perf_counter() - started
        self._log(f'{self._workload}: {name} is ready after {seconds:.0f} s')

    def _check_losses(self, name: str, process: Process) -> None:
        """Refuses a competitor that computes something else."""
        if self._facts['steps_per_epoch'] < CHECK_STEPS:
            raise BenchmarkError(
                f'{self._workload}: an epoch has {self._facts["steps_per_epoch"]} '
                f'steps, and {CHECK_STEPS} are compared; choose a smaller batch'
            )
        losses = process.call('losses', steps=CHECK_STEPS)
        self._losses[name] = losses
        for steps, tolerance in ((1, FIRST_TOLERANCE), (CHECK_STEPS, TOLERANCE)):
            reference = self._losses[OURS][:steps]
            difference = largest_difference(losses[:steps], reference)
            if not difference <= tolerance:
                raise BenchmarkError(
                    f'{self._workload}: {name} computes something else than {OURS}: '
                    f'the losses of steps 1 to {steps} differ by up to '
                    f'{difference:.1e}, more than {tolerance:.0e}'
                )

    def _calibrate(self, process: Process) -> int:
        """The steps of a turn; what compiles has done so when this is done."""
        seconds, most = self._settings.seconds, self._facts['steps_per_epoch']
        process.call('time', steps=1)
        asked, taken = 1, 0.0
        while taken < seconds / 2 and asked < most:
            asked = min(2 * asked, most)
            steps, taken = process.call('time', steps=asked)
        return min(math.ceil(steps * seconds / taken), most)

    def run(self) -> None:
        """Measures all in turn, beginning with another one in each round."""
        names = list(self._processes)
        watch = IdleWatch({name: p.cpu_seconds for name, p in self._processes.items()})
        for number in range(self._settings.rounds):
            first = number % len(names)
            measured = {}
            for name in names[first:] + names[:first]:
                with watch.turn_of(name):
                    steps, seconds = self._time(name)
                measured[name] = {'steps': steps, 'seconds': seconds}
            self._rounds.append({name: measured[name] for name in names})
            self._log(self._describe(self._rounds[-1]))
        self._idle_cpu = watch.shares()
        for name, share in self._idle_cpu.items():
            if share > _IDLE_CPU:
                self._log(
                    f'{self._workload}: {name} used {share:.0%} of a core while it '
                    'waited, and may have disturbed the others'
                )

    def _time(self, name: str) -> tuple[int, float]:
        return self._processes[name].call('time', steps=self._steps[name])

    def _describe(self, measured: Round) -> str:
        speeds = (
            f'{name} {self._workload.batch_size * per_second(measurement):,.0f}'
            for name, measurement in measured.items()
            if name != MATRIX_PRODUCT
        )
        number = f'round {len(self._rounds)}/{self._settings.rounds}'
        return f'{self._workload}: {number}: {", ".join(speeds)} images/s'

    def result(self) -> dict[str, Any]:
        """All of it, as plain data; see `summary.summarize`."""
        return {
            'model': self._workload.model,
            'batch_size': self._workload.batch_size,
            'optimizer': dataclasses.asdict(self._workload.optimizer),
            'compared_at': self._workload.compared_optimizer.learning_rate,
            **self._facts,
            'versions': self._versions,
            'left_out': self._left_out,
            'losses': self._losses,
            'largest_loss_difference': {
                name: largest_difference(losses, self._losses[OURS])
                for name, losses in self._losses.items()
            },
            'rounds': self._rounds,
            'idle_cpu': self._idle_cpu,
            'summary': summarize(
                self._rounds,
                self._workload.batch_size,
                self._facts['flops_per_image'],
                machine.FLOPS_PER_PRODUCT,
            ),
        }
