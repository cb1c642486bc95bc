"""One file a framework, each with classes of the same small interface."""

from pathlib import Path
from typing import Protocol

from benchmarks.workloads import Workload


class Competitor(Protocol):
    """Trains one workload; made and called in a process of its own by `worker`.

    Its module imports its framework at the top, so that one that is missing is found
    out before anything is made.
    """

    def __init__(self, workload: Workload, folder: Path, threads: int):
        """Builds what is needed.

        Args:
          workload: the model and its batch size.
          folder: where `start` keeps what all competitors begin from.
          threads: how many cores to compute on.
        """

    def versions(self) -> dict[str, str]:
        """The framework's packages and their versions."""

    def losses(self, steps: int) -> list[float]:
        """The mean loss of each of the first steps of an epoch.

        From the initial weights, in training mode but without dropout, with
        `workload.compared_optimizer`; each loss is that of its batch before its update.
        """

    def time(self, steps: int) -> tuple[int, float]:
        """Trains for so many steps, from the epoch's first batch on.

        In training mode, from wherever the last call left the weights. What compiles
        does so in the first call.

        Returns:
          How many steps were done (other than asked where a call takes several), and
          the seconds they took.
        """
