"""The members of a sweep: each point of the grid with each seed."""

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.grid.names import member_name, point_name
from fmnist_jax.grid.parse import Axis


@dataclasses.dataclass(frozen=True)
class Member:
    """A run of a sweep.

    Attributes:
      name: of its folder below that of the sweep, no other member's; the same in every
        sweep for the same values and seed.
      overrides: the grid's fields and the values they have here.
      seed: of the run.
      config: of the run, its own: what the config of the sweep is with these.
    """

    name: str
    overrides: dict[str, Any]
    seed: int
    config: ConfigDict


def make_members(
    config: ConfigDict,
    axes: Sequence[Axis],
    num_seeds: int,
    check: Callable[[ConfigDict], None] = config_lib.validate,
) -> list[Member]:
    """All members, the seeds of a point one after another, the last axis the fastest.

    Args:
      config: what they have in common; its seed is each point's first, and the others
        count on from it.
      axes: of the grid; none for seeds alone.
      num_seeds: how many at each point.
      check: raises a `UserError` where a member's config is not what it should be;
        called for each, before any is returned.

    Raises:
      UserError: there is nothing to sweep, or a member's config is refused.
    """
    if num_seeds < 1:
        raise UserError(f'--seeds must be at least 1, not {num_seeds}')
    if not axes and num_seeds == 1:
        raise UserError(
            'there is nothing to sweep: name values with --grid=FIELD=VALUE,VALUE, or '
            'several seeds with --seeds=N'
        )
    return [
        _make_member(config, overrides, number, check)
        for overrides in _points(axes)
        for number in range(num_seeds)
    ]


def _points(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(axis.values for axis in axes)):
        yield {axis.field: x for axis, x in zip(axes, values, strict=True)}


def _make_member(
    config: ConfigDict,
    overrides: dict[str, Any],
    number: int,
    check: Callable[[ConfigDict], None],
) -> Member:
    own = _with_values(config, overrides)
    place = point_name(overrides)
    # By then, that of the first has been checked.
    if number:
        own.seed += number
        place = member_name(overrides, own.seed)
    try:
        check(own)
    except UserError as error:
        raise UserError(f'{error} (member {place})' if place else str(error)) from error
    return Member(member_name(overrides, own.seed), dict(overrides), own.seed, own)


def _with_values(config: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
    own = copy.deepcopy(config)
    # A field that the model has need not be in the config yet.
    with own.unlocked():
        for field, value in overrides.items():
            *parents, last = field.split('.')
            functools.reduce(getattr, parents, own)[last] = value
    return own
