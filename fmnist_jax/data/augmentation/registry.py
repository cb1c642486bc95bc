"""The operations that a config can name."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fmnist_jax.data.augmentation import erasing, geometry, mixing, rand_augment
from fmnist_jax.data.augmentation.arguments import read_arguments
from fmnist_jax.errors import UserError, unknown_name


class Operation(NamedTuple):
    """What a name stands for.

    Attributes:
      function: of (key, image) and keyword arguments, to an image; or if it mixes, of
        (key, example, partner) and keyword arguments, to a `mixing.Mixable`.
      mixes: whether it takes a partner.
      problem: what is wrong with arguments that are each allowed; None if nothing is.
    """

    function: Callable
    mixes: bool = False
    problem: Callable[[Mapping[str, Any]], str | None] = lambda arguments: None


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        'horizontal_flip': Operation(geometry.horizontal_flip),
        'pad_and_crop': Operation(geometry.pad_and_crop),
        'translate': Operation(geometry.translate, problem=geometry.reach_problem),
        'rotate': Operation(geometry.rotate),
        'rand_augment': Operation(
            rand_augment.rand_augment, problem=rand_augment.magnitude_problem
        ),
        'random_erasing': Operation(erasing.random_erasing),
        'cutout': Operation(erasing.cutout),
        'mixup': Operation(mixing.mixup, mixes=True),
        'cutmix': Operation(mixing.cutmix, mixes=True),
    }
)


def make_operation(entry: Mapping[str, Any]) -> Operation:
    """An operation with the arguments that a config gives it.

    Args:
      entry: its `name`, and by theirs the arguments that are not their defaults.

    Raises:
      UserError: there is no such operation, or it takes no such argument or value.
    """
    name = entry.get('name')
    if not isinstance(name, str) or name not in OPERATIONS:
        raise unknown_name('augmentation', name, OPERATIONS)
    operation = OPERATIONS[name]
    given = {argument: value for argument, value in entry.items() if argument != 'name'}
    arguments = read_arguments(name, operation.function, given)
    if problem := operation.problem(arguments):
        raise UserError(f'augmentation {name!r}: {problem}')
    function = functools.partial(operation.function, **arguments)
    return operation._replace(function=function)
