"""What a config may give to an operation: read, checked, told of in one line.

An operation's arguments are its keyword-only parameters. Each is annotated with its
type and a reader: a function of the value in the config, which gives the argument, or
raises `ValueError` with the end of a sentence that the argument's name begins.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fmnist_jax.errors import UserError, unknown_name

Reader = Callable[[Any], Any]


def number(least: float | int, most: float | int, *, above: bool = False) -> Reader:
    """Reads numbers from `least`, or from above it, to `most`."""
    start = f'above {least} and at most' if above else f'from {least} to'

    def read(value: Any) -> float:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not least <= value <= most or (above and value == least):
            raise ValueError(f'must be a number {start} {most}')
        return float(value)

    return read


def integer(least: int, most: int) -> Reader:
    """Reads whole numbers from `least` to `most`."""

    def read(value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            raise ValueError(f'must be a whole number from {least} to {most}')
        return value

    return read


def one_of(*names: str) -> Reader:
    """Reads one of these texts."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError(f'must be {" or ".join(map(repr, names))}')
        return value

    return read


def interval(of: Reader) -> Reader:
    """Reads two such numbers, the smaller first: a tuple, or what JSON makes of it."""

    def read(value: Any) -> tuple[float, float]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise ValueError('must be two numbers, such as (0.1, 0.5)')
        try:
            low, high = map(of, value)
        except ValueError as error:
            raise ValueError(f'must be two numbers, each of which {error}') from None
        if low > high:
            raise ValueError('must have the smaller number first')
        return low, high

    return read


def optional(of: Reader) -> Reader:
    """Reads None, or what `of` reads."""
    return lambda value: None if value is None else of(value)


Probability = Annotated[float, number(0, 1)]
# Up to the longest side that `pillow.affine` can compute with.
Pixels = Annotated[int, integer(0, 32_767)]


def read_arguments(
    name: str, function: Callable, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Reads what a config gives to an operation.

    Args:
      name: the operation's, for messages.
      function: the operation.
      values: by argument.

    Returns:
      All the arguments, those that are not given by their defaults.

    Raises:
      UserError: there is no such argument, or its value is not allowed.
    """
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    hints = typing.get_type_hints(function, include_extras=True)
    arguments = dict(defaults)
    for argument, value in values.items():
        if argument not in defaults:
            what = f'argument of augmentation {name!r}'
            raise unknown_name(what, argument, defaults)
        (read,) = hints[argument].__metadata__
        try:
            arguments[argument] = read(value)
        except ValueError as error:
            raise UserError(
                f'augmentation {name!r}: {argument} {error}, not {value!r}'
            ) from error
    return arguments
