"""Where the figures of a report come from: a run, or several."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_jax.reporting.learning import Line


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the figures of a report come from.

    Attributes:
      run: the work folder's name.
      config: dotted fields and their values.
      provenance: what `provenance.json` holds.
      lines: those of `metrics.jsonl`; none before the end of the first epoch.
      steps_per_epoch: updates.
    """

    run: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    lines: Sequence[Line]
    steps_per_epoch: int

    @property
    def title(self) -> str:
        """What was scored, in words."""
        return self.config['model.name']

    @property
    def training_seconds(self) -> float:
        """Time spent training, without compilation and evaluation."""
        return sum((line.get('seconds', 0) for line in self.lines), start=0.0)


@dataclasses.dataclass(frozen=True)
class EnsembleOrigin:
    """Where the figures of an ensemble's report come from.

    Attributes:
      run: the work folder's name.
      members: the runs whose models are asked together; two or more.
    """

    run: str
    members: Sequence[Origin]

    @property
    def title(self) -> str:
        """What was scored, in words."""
        return f'the mean of {len(self.members)} models'

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The first member's: the data are those of all."""
        return self.members[0].provenance

    @property
    def training_seconds(self) -> float:
        """Time spent training all of them."""
        return sum((each.training_seconds for each in self.members), start=0.0)
