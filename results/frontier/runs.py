"""What the kept runs of results/frontier/rows.py came to.

A run of row ROW is kept in `results/runs/frontier/ROW/seedN`; see
`results/frontier/train.py`.
"""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.reporting.runs import Run
from fmnist_jax.training.evaluation.members import ENSEMBLE
from results.frontier.rows import ROWS, Row

GROUP = 'frontier'


@dataclasses.dataclass(frozen=True)
class Kept:
    """The small files of one run.

    Attributes:
      folder: that they are in.
      run: what training left; None of an ensemble.
      scores: what `metrics.json` of the row's evaluation holds; {} if there is none.
      robustness: likewise, `robustness.json`.
    """

    folder: Path
    run: Run | None
    scores: Mapping[str, Any]
    robustness: Mapping[str, Any]

    @property
    def validation(self) -> float | None:
        """Accuracy on the validation split, a fraction; None where none was measured.

        At its best epoch; of several views or an ensemble, as they were scored.
        """
        if self.scores.get('split') == 'validation':
            return self.scores['accuracy']
        if self.run is None or 'views' in self.scores:
            return None
        return self.run.best['accuracy']

    @property
    def test(self) -> float | None:
        """Accuracy on the test set, a fraction; None where it was not scored."""
        return self.scores['accuracy'] if self.scores.get('split') == 'test' else None

    @property
    def num_parameters(self) -> int | None:
        """Of an ensemble, of all its members; None where that is not told."""
        if 'num_parameters' in self.scores:
            return self.scores['num_parameters']
        return self.run.num_parameters if self.run else None


def source(text: str, seed: int) -> tuple[Row, int]:
    """The row and seed that `ROW` or `ROW+2` stands for, beside a run of a seed."""
    name, _, larger = text.partition('+')
    [row] = [row for row in ROWS if row.name == name]
    return row, seed + int(larger or 0)


def kept_folder(runs: Path, row: Row, seed: int) -> Path:
    """Where the small files of a run are kept."""
    return runs / GROUP / row.name / f'seed{seed}'


def read_row(runs: Path, row: Row) -> dict[int, Kept]:
    """The runs of a row that are kept and did not diverge, by seed."""
    found = {}
    for seed in range(row.num_seeds):
        folder = kept_folder(runs, row, seed)
        if folder.exists() and not (folder / workdir_lib.DIVERGENCE).exists():
            found[seed] = _read(folder, row)
    return found


def mean_validation(kept: Mapping[int, Kept]) -> float:
    """What trials are chosen by: the mean validation accuracy; 0 where none is kept."""
    found = [one.validation for one in kept.values() if one.validation is not None]
    return statistics.mean(found) if found else 0.0


def num_diverged(runs: Path, row: Row) -> int:
    """How many kept runs of a row diverged."""
    folders = [kept_folder(runs, row, seed) for seed in range(row.num_seeds)]
    return sum((folder / workdir_lib.DIVERGENCE).exists() for folder in folders)


def _read(folder: Path, row: Row) -> Kept:
    scored = folder / workdir_lib.EVALUATION / row.evaluation_folder
    return Kept(
        folder=folder,
        run=None if (folder / ENSEMBLE).exists() else Run.read(folder),
        scores=_read_json(scored / 'metrics.json'),
        robustness=_read_json(scored / 'robustness.json'),
    )


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def shortest_seconds(runs: Path, row: Row) -> float | None:
    """Time spent training the fastest run of a row; others had a busier machine.

    Without compilation and evaluation, and without what its teachers took. Of an
    ensemble, that of all its members, each as fast as the fastest of its row. None
    where nothing is kept.
    """
    if row.members:
        parts = [shortest_seconds(runs, member) for member in members(row)]
        return None if None in parts else sum(parts)
    kept = read_row(runs, row).values()
    return min((one.run.seconds for one in kept if one.run), default=None)


def members(row: Row) -> list[Row]:
    """The rows whose runs an ensemble is made of, one for each member."""
    return [source(name, 0)[0] for name in row.members]
