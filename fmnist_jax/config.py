"""Checks of a config, its default work folder, and what a resumed run may change."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from fmnist_jax.errors import UserError, unknown_name

# Names of a run's splits; `config.data.NAME_split` says what each is.
SPLITS = ('train', 'validation', 'test')

# Whole numbers and the least each may be.
_INTEGERS = {
    'seed': 0,
    'batch_size': 1,
    'num_epochs': 1,
    'eval_batch_size': 1,
    'checkpoint.keep_last': 2,
}
_OPTIONAL_INTEGERS = {'num_cpu_devices': 1, 'steps_per_call': 1}
# Numbers and the range each must lie in: least, largest, whether the largest may be.
_NUMBERS = {
    'optimizer.learning_rate': (0, math.inf, False),
    'optimizer.momentum': (0, 1, False),
    'optimizer.b1': (0, 1, False),
    'optimizer.b2': (0, 1, False),
    'optimizer.eps': (0, math.inf, False),
    'checkpoint.every_minutes': (0, math.inf, True),
    'logging.every_seconds': (0, math.inf, True),
}
_STRINGS = (
    'model.name',
    'data.name',
    'data.data_dir',
    'data.train_split',
    'data.validation_split',
    'data.test_split',
    'optimizer.name',
    'optimizer.schedule',
    'precision',
)
_OTHERS = ('augmentation', 'data.idx_dir', 'data.mean', 'data.std')
# Fields that say where and how a run is carried out, not what comes out of it.
_EXECUTION_FIELDS = (
    'num_cpu_devices',
    'steps_per_call',
    'data.data_dir',
    'data.idx_dir',
    'checkpoint.',
    'logging.',
)
_MAX_SEED = 2**32 - 1


def _get(config: ConfigDict, field: str) -> Any:
    value = config
    for part in field.split('.'):
        if not isinstance(value, ConfigDict | FrozenConfigDict) or part not in value:
            raise UserError(
                f'config has no field {field}; start from configs/default.py'
            )
        value = value[part]
    return value


def validate(config: ConfigDict) -> None:
    """Checks types and ranges of all the fields that the package reads.

    Names of models, optimizers, schedules and the like are checked by the modules
    that know them.

    Raises:
      UserError: a field is missing, unknown, of the wrong type or out of range.
    """
    _validate_names(config)
    for field, least in (_INTEGERS | _OPTIONAL_INTEGERS).items():
        value = _get(config, field)
        if value is None and field in _OPTIONAL_INTEGERS:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f'{field} must be a whole number, not {value!r}')
        if value < least:
            raise UserError(f'{field} must be at least {least}, not {value}')
    if config.seed > _MAX_SEED:
        raise UserError(f'seed must be at most {_MAX_SEED}, not {config.seed}')
    for field, (least, largest, inclusive) in _NUMBERS.items():
        value = _get(config, field)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UserError(f'{field} must be a number, not {value!r}')
        if not (least <= value < largest or (inclusive and value == largest)):
            raise UserError(
                f'{field} must be at least {least}'
                f'{f" and below {largest}" if largest < math.inf else " and finite"}'
                f', not {value}'
            )
    for field in _STRINGS:
        if not isinstance(_get(config, field), str):
            raise UserError(f'{field} must be text, not {_get(config, field)!r}')
    _validate_normalization(config)
    if not isinstance(_get(config, 'data.idx_dir'), str | None):
        raise UserError(
            f'data.idx_dir must be text or None, not {config.data.idx_dir!r}'
        )
    operations = _get(config, 'augmentation')
    if not isinstance(operations, tuple | list) or not all(
        isinstance(entry, Mapping) for entry in operations
    ):
        raise UserError('augmentation must be a tuple of {name, …} entries')


def _validate_names(config: ConfigDict) -> None:
    known = {*_INTEGERS, *_OPTIONAL_INTEGERS, *_NUMBERS, *_STRINGS, *_OTHERS}
    for field in flatten(config.to_dict()):
        # A model's fields are checked when it is made.
        if field not in known and not field.startswith('model.'):
            raise unknown_name('config field', field, known)


def _validate_normalization(config: ConfigDict) -> None:
    for field in ('data.mean', 'data.std'):
        value = _get(config, field)
        for number in value if isinstance(value, tuple | list) else (value,):
            valid = isinstance(number, int | float) and math.isfinite(number)
            if not valid or (field == 'data.std' and number <= 0):
                raise UserError(
                    f'{field} must be a number, or one for each channel'
                    f'{", above 0" if field == "data.std" else ""}; not {value!r}'
                )


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """The config as plain data, equal to what JSON would give back."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """The config that `to_dict` turned into plain data."""
    return ConfigDict(values)


def default_workdir(config_path: str, overrides: Mapping[str, Any]) -> str:
    """`runs/` plus the config file's name, and a hash of the overrides if any.

    Args:
      config_path: the value of `--config`.
      overrides: `--config.…` fields and their values.
    """
    name = config_path.split(':', maxsplit=1)[0].rsplit('/', 1)[-1].removesuffix('.py')
    if not overrides:
        return f'runs/{name}'
    text = json.dumps(dict(overrides), sort_keys=True, default=str)
    return f'runs/{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}'


def flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested fields under dotted names."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f'{prefix}{key}.')
        else:
            flat[f'{prefix}{key}'] = value
    return flat


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
    old, new = flatten(before), flatten(now)
    changed = []
    for field in sorted(old.keys() | new.keys()):
        if field.startswith(_EXECUTION_FIELDS) or old.get(field) == new.get(field):
            continue
        if field == 'num_epochs' and may_extend and new[field] > old[field]:
            continue
        changed.append(f'{field} was {old.get(field)!r}, now {new.get(field)!r}')
    return changed
