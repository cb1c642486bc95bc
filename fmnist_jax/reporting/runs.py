"""The small files of a work folder: what a run was, and how it went."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

from etils import epath

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Run:
    """The small files of a run.

    Attributes:
      name: its folder's.
      config: dotted fields and their values.
      metrics: the lines of `metrics.jsonl`, of one epoch at least.
      evaluations: what `eval/SPLIT/metrics.json` holds, by split.
      provenance: what `provenance.json` holds.
    """

    name: str
    config: dict[str, Any]
    metrics: Sequence[dict[str, Any]]
    evaluations: dict[str, dict[str, Any]]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, workdir: epath.PathLike) -> 'Run':
        """Reads a work folder, or what `results/keep.py` kept of one.

        Raises:
          UserError: there is no run in it, or none that has finished an epoch.
        """
        folder = epath.Path(workdir).expanduser()
        config = workdir_lib.read_json(folder / workdir_lib.CONFIG)
        evaluations = {
            split: workdir_lib.read_json(path)
            for split in config_lib.SPLITS
            if (
                path := folder / workdir_lib.EVALUATION / split / 'metrics.json'
            ).exists()
        }
        return cls(
            name=workdir_lib.absolute(folder).name,
            config=config_lib.flatten(config),
            metrics=_read_metrics(folder / workdir_lib.METRICS),
            evaluations=evaluations,
            provenance=workdir_lib.read_json(folder / workdir_lib.PROVENANCE),
        )

    def lines(self, split: str) -> list[dict[str, Any]]:
        """The epochs' metrics on a split."""
        return [line for line in self.metrics if line['split'] == split]

    @property
    def best(self) -> dict[str, Any]:
        """The epoch of highest validation accuracy, the earliest on ties."""
        return max(self.lines('validation'), key=lambda line: line['accuracy'])

    @property
    def devices(self) -> dict[str, Any]:
        """Their `number`, `platform` and `kind`."""
        return self.provenance['devices']

    @property
    def seconds(self) -> float:
        """Time spent training, without compilation and evaluation."""
        return sum(line['seconds'] for line in self.lines('train'))

    @property
    def images_per_second(self) -> float:
        """The median epoch's."""
        return statistics.median(x['images_per_second'] for x in self.lines('train'))


def _read_metrics(path: epath.Path) -> list[dict[str, Any]]:
    if not path.exists() or not (text := path.read_text()).strip():
        raise UserError(
            f'{path.parent} has no metrics yet: train for an epoch at least'
        )
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise UserError(f'{path} is damaged: {error}') from error
