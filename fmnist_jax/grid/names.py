"""Names of fields, values and members: short, and safe as the name of a folder."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Characters of a value, of all of a point's values, and digits of a hash, in a name.
_MAX_VALUE, _MAX_POINT, _DIGITS = 24, 120, 8
# A word that no number, and none of None, True and False, is written as.
_WORD = re.compile(rf'(?!(?:none|true|false)$)[a-z][a-z0-9_.+-]{{0,{_MAX_VALUE - 1}}}')


def canonical(value: Any) -> str:
    """JSON that is the same for equal values, however they were written.

    Raises:
      TypeError: JSON cannot hold it.
      ValueError: it is, or holds, a number that is not finite.
    """
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    # Above, not every whole number is a float.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """For each dotted field the last part of its name, where no other has it.

    That of a `name` is the part before: `model` for `model.name`.
    """
    # `seed` has a place of its own.
    shorts = [*map(_last_part, fields), 'seed']
    return {
        field: short if shorts.count(short) == 1 else field
        for field, short in zip(fields, shorts, strict=False)
    }


def _last_part(field: str) -> str:
    return field.removesuffix('.name').rsplit('.', 1)[-1]


def point_name(overrides: Mapping[str, Any]) -> str:
    """A name for values: ASCII letters, digits and `=,_.+-`, bounded in length.

    It follows from the values alone, not from how or in which order they are written,
    or from what else is in the grid.

    Args:
      overrides: dotted fields and their values; without any, the name is empty.
    """
    fields = sorted(overrides)
    shorts = short_names(fields)
    name = ','.join(
        f'{shorts[field]}={_value_name(overrides[field])}' for field in fields
    )
    if len(name) > _MAX_POINT:
        name = f'{name[:_MAX_POINT]}-{_hash(canonical(overrides))}'
    return name


def member_name(overrides: Mapping[str, Any], seed: int) -> str:
    """A name for the folder of a member: that of its point, and its seed."""
    point = point_name(overrides)
    return f'{point},seed={seed}' if point else f'seed={seed}'


def _value_name(value: Any) -> str:
    if value is None:
        return 'none'
    text = canonical(value)
    if isinstance(value, int | float):
        return text
    # Names of files that differ in case alone are one file for some systems.
    word = value if isinstance(value, str) else text
    if _WORD.fullmatch(word):
        return word
    # Of an operation, its name is enough to know it by.
    words = word.lower().replace('"name": ', '')
    slug = re.sub('[^a-z0-9_.+]+', '-', words).strip('-')[:_MAX_VALUE].rstrip('-')
    return f'{slug or "empty"}-{_hash(text)}'


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
