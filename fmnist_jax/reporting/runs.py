"""The small files of a work folder: what a run was, and how it went."""

import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

from etils import epath

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.learning import best, of_split

_LINE = ('epoch', 'step', 'loss', 'accuracy')
_TRAIN_LINE = (*_LINE, 'seconds', 'images_per_second')
_EVALUATION = ('loss', 'accuracy', 'checkpoint_step')


class NoEpochYet(UserError):
    """A run has not finished its first epoch."""


@dataclasses.dataclass(frozen=True)
class Run:
    """The small files of a run.

    Attributes:
      name: its folder's.
      config: dotted fields and their values.
      metrics: the lines of `metrics.jsonl`, of one epoch at least.
      evaluations: what `eval/SPLIT/metrics.json` holds, by split.
      provenance: what `provenance.json` holds.
      damage: what is left out of `metrics`, if their file is cut off within its last
        epoch.
    """

    name: str
    config: dict[str, Any]
    metrics: Sequence[dict[str, Any]]
    evaluations: dict[str, dict[str, Any]]
    provenance: dict[str, Any]
    damage: str | None = None

    @classmethod
    def read(cls, workdir: epath.PathLike) -> 'Run':
        """Reads a work folder, or what `results/keep.py` kept of one.

        Raises:
          NoEpochYet: the run has not finished an epoch.
          UserError: there is no run in it, or a file is damaged.
        """
        folder = epath.Path(workdir).expanduser()
        if folder.exists() and not folder.is_dir():
            raise UserError(f'{folder} is a file, not a work folder')
        config = _read_config(folder / workdir_lib.CONFIG)
        metrics, damage = _read_metrics(folder / workdir_lib.METRICS)
        return cls(
            name=workdir_lib.absolute(folder).name,
            config=config,
            metrics=metrics,
            evaluations=_read_evaluations(folder / workdir_lib.EVALUATION),
            provenance=_read_object(folder / workdir_lib.PROVENANCE),
            damage=damage,
        )

    def lines(self, split: str) -> list[dict[str, Any]]:
        """The epochs' metrics on a split."""
        return of_split(self.metrics, split)

    @property
    def best(self) -> dict[str, Any]:
        """The epoch of highest validation accuracy, the earliest on ties."""
        return best(self.metrics)

    @property
    def epochs(self) -> int:
        """How many are finished."""
        return len(self.lines('validation'))

    @property
    def devices(self) -> dict[str, Any]:
        """Their `number`, `platform` and `kind`."""
        return self.provenance['devices']

    @property
    def num_parameters(self) -> int | None:
        """The model's; None where neither training nor an evaluation has told."""
        told = (self.provenance.get('model', {}), *self.evaluations.values())
        numbers = [values.get('num_parameters') for values in told]
        return next((number for number in numbers if number is not None), None)

    @property
    def seconds(self) -> float:
        """Time spent training, without compilation and evaluation."""
        return sum(line['seconds'] for line in self.lines('train'))

    @property
    def images_per_second(self) -> float:
        """The median epoch's."""
        return statistics.median(x['images_per_second'] for x in self.lines('train'))


def _read_object(path: epath.Path) -> dict[str, Any]:
    value = workdir_lib.read_json(path)
    if not isinstance(value, dict):
        raise UserError(f'{path} is damaged: it holds no JSON object')
    return value


def _read_config(path: epath.Path) -> dict[str, Any]:
    config = config_lib.flatten(_read_object(path))
    for field in ('model.name', 'num_epochs', 'seed'):
        if field not in config:
            raise UserError(f'{path} is not the config of a run: it has no {field}')
    return config


def _read_evaluations(folder: epath.Path) -> dict[str, dict[str, Any]]:
    evaluations = {}
    for split in config_lib.SPLITS:
        path = folder / split / 'metrics.json'
        if not path.exists():
            continue
        try:
            metrics = _read_object(path)
            if missing := _missing(metrics, _EVALUATION):
                raise UserError(f'{path} is damaged: it has no {missing}')
        except UserError as error:
            raise UserError(f'{error}; evaluate again, or remove the file') from error
        evaluations[split] = metrics
    return evaluations


def _read_metrics(path: epath.Path) -> tuple[list[dict[str, Any]], str | None]:
    """The lines of whole epochs, and what is left out besides them, if anything is."""
    try:
        text = path.read_text() if path.exists() else ''
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {error}') from error
    lines, cut_off = _parse(text, path)
    epochs = {
        split: {line['epoch'] for line in lines if line['split'] == split}
        for split in ('train', 'validation')
    }
    half = epochs['train'] ^ epochs['validation']
    last = max((line['epoch'] for line in lines), default=0)
    if half - {last}:
        raise UserError(
            f'{path} is damaged: a line of epoch {min(half - {last})} is missing'
        )
    whole = [line for line in lines if line['epoch'] not in half]
    if not whole:
        raise NoEpochYet(
            f'{path.parent} has no metrics yet: train for an epoch at least'
        )
    if half or cut_off:
        return whole, f'{path.name} is cut off after epoch {whole[-1]["epoch"]}'
    return whole, None


def _parse(text: str, path: epath.Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines, and whether the last is cut off and left out."""
    lines = []
    texts = text.split('\n')
    for number, content in enumerate(texts, start=1):
        # What follows the last line end is nothing, or the part of a line.
        is_rest = number == len(texts)
        if is_rest and not content:
            break
        try:
            line = json.loads(content)
        except ValueError as error:
            if is_rest:
                return lines, True
            raise UserError(f'{path} is damaged in line {number}: {error}') from error
        if problem := _problem(line):
            raise UserError(f'{path} is damaged in line {number}: it has no {problem}')
        lines.append(line)
    return lines, False


def _problem(line: Any) -> str | None:
    """What a line of metrics lacks."""
    if not isinstance(line, dict) or line.get('split') not in config_lib.SPLITS:
        return 'split'
    return _missing(line, _TRAIN_LINE if line['split'] == 'train' else _LINE)


def _missing(values: dict[str, Any], keys: Sequence[str]) -> str | None:
    """The first key that holds no finite number."""
    for key in keys:
        value = values.get(key)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return key
    return None
