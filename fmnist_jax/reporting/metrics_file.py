"""`metrics.jsonl` of a work folder: read, checked, and what of it is whole epochs."""

import json
import math
from collections.abc import Sequence
from typing import Any

from etils import epath

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.learning import Line

_LINE = ('epoch', 'step', 'loss', 'accuracy')
_TRAIN_LINE = (*_LINE, 'seconds', 'images_per_second')


class NoEpochYet(UserError):
    """A run has not finished its first epoch."""


def read_metrics(path: epath.Path) -> tuple[list[Line], str | None]:
    """Reads the epochs that are whole: with a line of each split.

    Returns:
      Their lines, in each split of the epochs 1, 2, 3 …; and what is left out, if the
      file is cut off within its last epoch.

    Raises:
      NoEpochYet: no epoch is whole, or there is no file.
      UserError: the file is damaged: a line is no line of metrics, missing, there
        twice or out of order.
    """
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
    _check_order(lines, path)
    whole = [line for line in lines if line['epoch'] not in half]
    if not whole:
        raise NoEpochYet(
            f'{path.parent} has no metrics yet: train for an epoch at least'
        )
    if half or cut_off:
        return whole, f'{path.name} is cut off after epoch {whole[-1]["epoch"]}'
    return whole, None


def _parse(text: str, path: epath.Path) -> tuple[list[Line], bool]:
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
    return missing_number(line, _TRAIN_LINE if line['split'] == 'train' else _LINE)


def _check_order(lines: Sequence[Line], path: epath.Path) -> None:
    due = dict.fromkeys(config_lib.SPLITS, 1)
    for number, line in enumerate(lines, start=1):
        split, epoch = line['split'], line['epoch']
        if epoch != due[split]:
            raise UserError(
                f'{path} is damaged in line {number}: it has epoch {epoch} of '
                f'{split}, where epoch {due[split]} should follow'
            )
        due[split] += 1


def missing_number(values: dict[str, Any], keys: Sequence[str]) -> str | None:
    """The first key that holds no finite number."""
    for key in keys:
        value = values.get(key)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return key
    return None
