"""What has become of each run of a sweep, and the file that tells it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from etils import epath

from fmnist_jax import workdir as workdir_lib

Status = Literal['pending', 'running', 'finished', 'diverged']


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What has become of a run.

    Attributes:
      workdir: its work folder, as commands take it.
      overrides: the grid's fields and the values they have in it.
      seed: of it.
      status: where it stands; one that has diverged is not trained on.
      validation_accuracy: of the best epoch so far, a fraction; None before there is
        one.
      error: why it diverged, in one line.
    """

    workdir: str
    overrides: Mapping[str, Any]
    seed: int
    status: Status
    validation_accuracy: float | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f'the status of {self.workdir} is {self.status!r}')
        if self.status == 'finished' and self.validation_accuracy is None:
            raise ValueError(f'{self.workdir} has finished without an accuracy')


def write_outcomes(folder: epath.Path, outcomes: Sequence[Outcome]) -> None:
    """Writes `sweep.json` in the sweep's folder, whole.

    It is a list of objects with the attributes of an `Outcome`; `error` is left out
    where there is none.
    """
    entries = [dataclasses.asdict(outcome) for outcome in outcomes]
    for entry in entries:
        if entry['error'] is None:
            del entry['error']
    workdir_lib.write_json(folder / workdir_lib.SWEEP, entries)
