"""Values of a grid as they stand in a table and beside a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_jax.grid import Axis, canonical, short_names
from fmnist_jax.reporting import text

# Characters, beyond which a value is cut.
_MAX_LENGTH = 28


def is_numeric(axis: Axis) -> bool:
    """Whether all values are numbers."""
    return all(map(_is_number, axis.values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_order(axis: Axis) -> Axis:
    """The axis with its values from low to high, if they are numbers."""
    if not is_numeric(axis):
        return axis
    return Axis(axis.field, tuple(sorted(axis.values)))


def value_labels(axis: Axis) -> dict[str, str]:
    """For each value, by its `canonical` text, a label of one short line.

    Long ones lose their middle; what that leaves alike is numbered.
    """
    labels: dict[str, str] = {}
    for value in axis.values:
        short = label = _shorten(_words(value))
        number = 1
        while label in labels.values():
            number += 1
            label = f'{short} ({number})'
        labels[canonical(value)] = label
    return labels


def _words(value: Any) -> str:
    if _is_number(value):
        return canonical(value)
    return text.printable(text.config_value(value)) or "''"


def _shorten(words: str) -> str:
    if len(words) <= _MAX_LENGTH:
        return words
    half = (_MAX_LENGTH - 1) // 2
    return f'{words[:half]}…{words[-half:]}'


def describe(overrides: Mapping[str, Any], axes: Sequence[Axis]) -> str:
    """A point in words, such as `learning_rate=0.01, batch_size=100`.

    Args:
      overrides: its fields and values; those of no axis are left out.
      axes: of the grid.
    """
    shorts = short_names([axis.field for axis in axes])
    return ', '.join(
        f'{shorts[axis.field]}={value_labels(axis)[canonical(overrides[axis.field])]}'
        for axis in axes
        if axis.field in overrides
    )
