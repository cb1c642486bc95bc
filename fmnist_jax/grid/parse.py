"""What `--grid=FIELD=VALUE,VALUE` says, checked against the config."""

import ast
import dataclasses
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_flags import config_path

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.grid.names import canonical

_USAGE = (
    'write --grid=FIELD=VALUE,VALUE, such as --grid=optimizer.learning_rate=0.1,0.01'
)
# Fields that say which images a member is scored on.
_SCORED_ON = (
    'data.name',
    'data.class_names',
    'data.validation_split',
    'data.test_split',
)
# Something in quotation marks, or any other character.
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)
# As the flags of ml_collections have them.
_BOOLEANS = MappingProxyType({'true': True, 'false': False})
_KINDS = MappingProxyType(
    {
        bool: 'true or false',
        int: 'whole numbers',
        float: 'numbers',
        str: 'text',
        tuple: 'tuples, such as (1, 2), (1,) or ()',
    }
)


@dataclasses.dataclass(frozen=True)
class Axis:
    """A config field, by its dotted name, and the values it takes in a grid."""

    field: str
    values: tuple[Any, ...]


def parse_grid(texts: Sequence[str], config: ConfigDict) -> tuple[Axis, ...]:
    """The axes of a grid, in the order given.

    Values are Python literals, or words that stand for themselves, and of the type that
    the config's field has. A field of the model that the config leaves to its default
    takes any: whether the model has it, is checked when the model is made.

    Args:
      texts: `FIELD=VALUE,VALUE…`, of `--grid`; none for a grid of one point.
      config: that the values go into.

    Raises:
      UserError: a text cannot be read, a field is unknown, cannot be swept over or is
        given twice, or a value is of the wrong type or given twice.
    """
    axes: list[Axis] = []
    for text in texts:
        try:
            axis = _parse_axis(text, config)
            if any(axis.field == other.field for other in axes):
                raise UserError(
                    f'{axis.field} is given twice; put all its values into one --grid'
                )
        except UserError as error:
            raise UserError(f'--grid={text}: {error}') from error
        axes.append(axis)
    return tuple(axes)


def _parse_axis(text: str, config: ConfigDict) -> Axis:
    if not text.strip():
        raise UserError(f'it is empty; {_USAGE}')
    field, equals, rest = (part.strip() for part in text.partition('='))
    if not field:
        raise UserError(f'the name of a config field is missing; {_USAGE}')
    _check_field(field, config)
    if not equals or not rest:
        raise UserError(f'{field} has no values; {_USAGE}')
    parts = _split(rest)
    if '' in parts:
        raise UserError(
            'there is no value before, between or after commas; leave the comma out, '
            "or write '' for empty text"
        )
    values = [_parse_value(part, field, config) for part in parts]
    _check_distinct(parts, values)
    return Axis(field, tuple(values))


def _check_distinct(texts: Sequence[str], values: Sequence[Any]) -> None:
    before: dict[str, str] = {}
    for text, value in zip(texts, values, strict=True):
        try:
            key = canonical(value)
        except (TypeError, ValueError) as error:
            raise UserError(f'{text} is no value that config.json can hold') from error
        if key in before:
            same = '' if before[key] == text else f': {before[key]} is the same'
            raise UserError(f'{text} is given twice{same}; give each value once')
        before[key] = text


def _check_field(field: str, config: ConfigDict) -> None:
    known = config_lib.flatten(config.to_dict())
    if field == 'seed':
        raise UserError(
            'seeds are no part of the grid; write --seeds=N for N of them, the first '
            'of which is --config.seed'
        )
    if inner := [name for name in known if name.startswith(f'{field}.')]:
        raise UserError(f'{field} is a group of fields; name one, such as {inner[0]}')
    if field not in known and not _is_of_model(field, config):
        raise unknown_name('config field', field, known)
    if not config_lib.decides_result(field):
        raise UserError(
            f'{field} does not change what comes out of a run; set it for all members '
            f'with --config.{field}=…'
        )
    if field in _SCORED_ON:
        raise UserError(
            f'members that differ in {field} would be scored on different images, '
            'which do not compare; start a sweep for each value, with '
            f'--config.{field}=…'
        )


def _is_of_model(field: str, config: ConfigDict) -> bool:
    group, _, name = field.partition('.')
    return group == 'model' and group in config and name.isidentifier()


def _split(text: str) -> list[str]:
    """The parts between those commas that are in no brackets or quotation marks."""
    parts, depth = [''], 0
    for token in _TOKEN.findall(text):
        depth += (token in '([{') - (token in ')]}')
        if depth < 0:
            break
        if token == ',' and not depth:
            parts.append('')
        else:
            parts[-1] += token
    if depth:
        raise UserError('brackets do not match; close each one that is opened')
    return [part.strip() for part in parts]


def _parse_value(text: str, field: str, config: ConfigDict) -> Any:
    kind = _kind(field, config)
    value = _literal(text)
    if kind is str and value is not None and not isinstance(value, str):
        value = text
    try:
        return _cast(value, kind)
    except (TypeError, OverflowError) as error:
        expected = _KINDS.get(kind, f'values of type {kind.__name__}')
        raise UserError(f'{field} takes {expected}, not {text}') from error


def _kind(field: str, config: ConfigDict) -> type:
    """The type of a field, also where it is None; `object` for any."""
    known = field in config_lib.flatten(config.to_dict())
    return config_path.get_type(field, config) if known else object


def _literal(text: str) -> Any:
    """A Python literal; a word as it is."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        if text[0] in '\'"([{':
            raise UserError(
                f'{text} is no Python value; put text in it into quotation marks, and '
                'the whole flag into others'
            ) from error
        return text


def _cast(value: Any, kind: type) -> Any:
    if value is None or kind is object:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind in (tuple, list) and isinstance(value, tuple | list):
        return kind(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value
