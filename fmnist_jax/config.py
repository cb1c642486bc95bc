"""Checks of a config, its default work folder, and what a resumed run may change."""

import copy
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from fmnist_jax.errors import UserError, unknown_name

# Names of a run's splits; `config.data.NAME_split` says what each is.
SPLITS = ('train', 'validation', 'test')
# Ways of measuring loss and accuracy on the training split; see configs/default.py.
TRAIN_METRICS = ('running', 'after_epoch')

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
_DURATION = re.compile(r'(\d+(?:\.\d+)?(?:e\d+)?) (step|epoch|example)s?')

# What is wrong with a value, as the end of a sentence that its field's name begins;
# None if nothing is.
_Check = Callable[[Any], str | None]


def _integer(least: int, largest: float | int = math.inf) -> _Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return 'must be a whole number'
        if value < least:
            return f'must be at least {least}'
        return f'must be at most {largest}' if value > largest else None

    return check


def _number(below: float | int = math.inf, *, positive: bool = False) -> _Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return 'must be a number'
        if not (0 <= value < below) or (positive and value == 0):
            low = 'above 0' if positive else 'at least 0'
            high = 'finite' if below == math.inf else f'below {below}'
            return f'must be {low} and {high}'
        return None

    return check


def _share(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 'must be a number'
    return None if 0 <= value <= 1 else 'must be at least 0 and at most 1'


def _optional(other: _Check) -> _Check:
    return lambda value: None if value is None else other(value)


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else 'must be text'


def _one_of(names: tuple[str, ...]) -> _Check:
    return lambda value: None if value in names else f'must be {" or ".join(names)}'


def _duration(value: Any) -> str | None:
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return None
    return "must be a duration such as '500 steps', '2 epochs' or '1e6 examples'"


def _one_a_channel(*, positive: bool = False) -> _Check:
    def valid(number: Any) -> bool:
        if not isinstance(number, int | float) or isinstance(number, bool):
            return False
        return math.isfinite(number) and (number > 0 or not positive)

    def check(value: Any) -> str | None:
        numbers = value if isinstance(value, tuple | list) else (value,)
        if numbers and all(map(valid, numbers)):
            return None
        above = ', above 0' if positive else ''
        return f'must be a number, or one for each channel{above}'

    return check


def _class_names(value: Any) -> str | None:
    names = value if isinstance(value, tuple | list) else ()
    # TFDS keeps one a line and strips it.
    valid = all(
        isinstance(n, str) and n and n.isprintable() and n == n.strip() for n in names
    )
    if names and valid and len(set(names)) == len(names):
        return None
    return "must be None or distinct names of one line each, such as ('cat', 'dog')"


def _entries(value: Any) -> str | None:
    entries = value if isinstance(value, tuple | list) else (None,)
    if all(isinstance(entry, Mapping) for entry in entries):
        return None
    return 'must be a tuple of {name, …} entries'


def _texts(value: Any) -> str | None:
    if isinstance(value, tuple | list) and all(isinstance(x, str) for x in value):
        return None
    return "must be a tuple of texts, such as ('one',)"


# All fields but a model's own, which are checked when the model is made.
_CHECKS: MappingProxyType[str, _Check] = MappingProxyType(
    {
        'seed': _integer(0, largest=2**32 - 1),
        'model.name': _text,
        'init_from': _optional(_text),
        'data.name': _text,
        'data.data_dir': _text,
        'data.idx_dir': _optional(_text),
        'data.class_names': _optional(_class_names),
        'data.train_split': _text,
        'data.validation_split': _text,
        'data.test_split': _text,
        'data.mean': _one_a_channel(),
        'data.std': _one_a_channel(positive=True),
        'batch_size': _integer(1),
        'num_epochs': _integer(1),
        'eval_batch_size': _integer(1),
        'train_metrics': _one_of(TRAIN_METRICS),
        'label_smoothing': _number(below=1),
        'ema_decay': _optional(_number(below=1)),
        'gradient_accumulation': _integer(1),
        'distillation.teachers': _texts,
        'distillation.weight': _share,
        'distillation.temperature': _number(positive=True),
        'optimizer.name': _text,
        'optimizer.learning_rate': _number(),
        'optimizer.schedule': _text,
        'optimizer.warmup': _duration,
        'optimizer.decay_rate': _number(positive=True),
        'optimizer.decay_every': _duration,
        'optimizer.momentum': _number(below=1),
        'optimizer.b1': _number(below=1),
        'optimizer.b2': _number(below=1),
        'optimizer.eps': _number(),
        'optimizer.weight_decay': _number(),
        'optimizer.weight_decay_on': _text,
        'optimizer.sam_radius': _optional(_number(positive=True)),
        'optimizer.clip_norm': _optional(_number(positive=True)),
        'augmentation': _entries,
        'augmented_copies': _integer(0),
        'precision': _text,
        'num_cpu_devices': _optional(_integer(1)),
        'steps_per_call': _optional(_integer(1)),
        'checkpoint.every_minutes': _optional(_number()),
        'checkpoint.keep_last': _integer(2),
        'logging.every_seconds': _number(),
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
        if field not in _CHECKS and not field.startswith('model.'):
            raise unknown_name('config field', field, _CHECKS)
    for field, check in _CHECKS.items():
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
    number, unit = _DURATION.fullmatch(duration).groups()
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
