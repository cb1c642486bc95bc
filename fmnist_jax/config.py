"""A config as a whole: checked, as plain data, its work folder, what may change."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from fmnist_jax.config_fields import CHECKS, DURATION
from fmnist_jax.errors import UserError, unknown_name

# Names of a run's splits; `config.data.NAME_split` says what each is.
SPLITS = ('train', 'validation', 'test')

# Fields that say where and how a run is carried out, not what comes out of it.
_EXECUTION_FIELDS = (
    'num_cpu_devices',
    'steps_per_call',
    'data.data_dir',
    'data.idx_dir',
    'checkpoint.',
    'logging.',
)
# Fields that were added since work folders were written, and what was done before.
_ADDED_FIELDS = MappingProxyType(
    {
        'augmented_copies': 0,
        'ema_decay': None,
        'gradient_accumulation': 1,
        'optimizer.weight_decay_on': 'kernels',
        'optimizer.sam_radius': None,
        'distillation.teachers': [],
        'distillation.weight': 0.5,
        'distillation.temperature': 1.0,
    }
)


def validate(config: ConfigDict) -> None:
    """Checks types and ranges of all the fields that the package reads.

    Names of models, optimizers, schedules and the like are checked by the modules
    that know them.

    Raises:
      UserError: a field is missing, unknown, of the wrong type or out of range.
    """
    for field in flatten(config.to_dict()):
        if field not in CHECKS and not field.startswith('model.'):
            raise unknown_name('config field', field, CHECKS)
    for field, check in CHECKS.items():
        value = _get(config, field)
        if problem := check(value):
            raise UserError(f'{field} {problem}, not {value!r}')


def _get(config: ConfigDict, field: str) -> Any:
    value = config
    for part in field.split('.'):
        if not isinstance(value, ConfigDict | FrozenConfigDict) or part not in value:
            raise UserError(
                f'config has no field {field}; start from configs/default.py'
            )
        value = value[part]
    return value


def to_steps(duration: str, steps_per_epoch: int, batch_size: int) -> float:
    """A valid duration, such as `2 epochs`, as a number of updates."""
    number, unit = DURATION.fullmatch(duration).groups()
    steps = {'step': 1, 'epoch': steps_per_epoch, 'example': 1 / batch_size}
    return float(number) * steps[unit]


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """The config as plain data, equal to what JSON would give back."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """The config that `to_dict` turned into plain data, by this version or earlier."""
    values = copy.deepcopy(dict(values))
    for field, default in _ADDED_FIELDS.items():
        *parents, name = field.split('.')
        part = values
        for parent in parents:
            # What is no object there is told of when the config is checked.
            part = part.setdefault(parent, {}) if isinstance(part, dict) else None
        if isinstance(part, dict):
            part.setdefault(name, default)
    return ConfigDict(values)


def default_workdir(config_path: str, overrides: Mapping[str, Any]) -> str:
    """`runs/` plus the config's name and variant, and a hash of overrides if any.

    Args:
      config_path: the value of `--config`: a file, and maybe `:` and a variant of it.
      overrides: `--config.…` fields and their values.
    """
    path, _, variant = config_path.partition(':')
    name = path.rsplit('/', 1)[-1].removesuffix('.py')
    if variant:
        # As the name of a folder on any system; others that are made the same differ.
        safe = re.sub(r'[^\w.=-]+', '_', variant, flags=re.ASCII)
        name += f'-{safe}' if safe == variant else f'-{safe}-{_digest(variant)}'
    return f'runs/{name}-{_digest(dict(overrides))}' if overrides else f'runs/{name}'


def _digest(value: Any) -> str:
    """Six hex digits of a value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested fields under dotted names."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def decides_result(field: str) -> bool:
    """Whether what comes out of a run depends on a field, given by its dotted name."""
    return not field.startswith(_EXECUTION_FIELDS)


def changed_fields(
    before: Mapping[str, Any], now: Mapping[str, Any], *, may_extend: bool
) -> list[str]:
    """The fields that differ and would change the result of a resumed run.

    Args:
      before: the config in the work folder, as plain data.
      now: the config asked for, as plain data.
      may_extend: whether `num_epochs` may have grown: the schedule does not count on
        it.

    Returns:
      For each such field, its name and both values in words.
    """
    old, new = {**_ADDED_FIELDS, **flatten(before)}, flatten(now)
    changed = []
    for field in sorted(old.keys() | new.keys()):
        if not decides_result(field) or old.get(field) == new.get(field):
            continue
        if field == 'num_epochs' and may_extend and new[field] > old[field]:
            continue
        changed.append(f'{field} was {old.get(field)!r}, now {new.get(field)!r}')
    return changed
