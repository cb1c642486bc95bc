"""What each field of a config may be."""

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

# Ways of measuring loss and accuracy on the training split; see configs/default.py.
TRAIN_METRICS = ('running', 'after_epoch')
# So many updates, in one of three units.
DURATION = re.compile(r'(\d+(?:\.\d+)?(?:e\d+)?) (step|epoch|example)s?')

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
    if isinstance(value, str) and DURATION.fullmatch(value):
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
CHECKS: MappingProxyType[str, _Check] = MappingProxyType(
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
