"""The fields of a model's class, and checks of the values that they are given."""

import dataclasses
import numbers
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, NoneType, UnionType
from typing import Any

import jax
from flax import linen as nn

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.models.own import class_of

# Annotations that values are checked against: in words, and the type that is meant.
_TYPES = MappingProxyType(
    {
        bool: ('True or False', bool),
        int: ('a whole number', numbers.Integral),
        float: ('a number', numbers.Real),
        str: ('text', str),
        NoneType: ('None', NoneType),
        jax.Array: ('an array', jax.Array),
    }
)


def field_names(factory: Callable[..., nn.Module]) -> set[str]:
    """The fields of a model's class that can be set."""
    return {field.name for field in _fields(factory)}


def _fields(factory: Callable[..., nn.Module]) -> list[dataclasses.Field]:
    # Flax gives every module `name` and `parent`, for its own use.
    fields = dataclasses.fields(class_of(factory))
    return [f for f in fields if f.init and f.name not in ('name', 'parent')]


def check_fields(
    factory: Callable[..., nn.Module], name: str, values: Mapping[str, Any]
) -> None:
    """Checks the values of a model's fields, `num_classes` among them.

    Args:
      factory: a Linen module's class, or a `functools.partial` of one.
      name: the model's, for messages.
      values: by field; those that the partial sets may be left out.

    Raises:
      UserError: there is no such field, one without a default is missing, or a value
        is not of the type that its field is annotated with.
    """
    known = field_names(factory)
    if 'num_classes' not in known:
        raise UserError(
            f'model {name!r} has no field num_classes; declare `num_classes: int` in '
            'its class, and give so many logits'
        )
    for field in values:
        if field not in known:
            raise unknown_name(f'field of model {name!r}', field, known)
    given = {**getattr(factory, 'keywords', {}), **values}
    for field in _fields(factory):
        if field.name in given:
            _check_type(field, name, given[field.name])
        elif dataclasses.MISSING is field.default is field.default_factory:
            raise UserError(
                f'model {name!r} needs a value for its field {field.name!r}: set '
                f'config.model.{field.name}'
            )


def _check_type(field: dataclasses.Field, name: str, value: Any) -> None:
    if not _is_of_type(value, field.type):
        raise UserError(
            f'field {field.name!r} of model {name!r} must be {_describe(field.type)}, '
            f'not {value!r}'
        )


def _is_of_type(value: Any, annotation: Any) -> bool:
    """Whether a value fits an annotation; true for annotations that are not known."""
    arguments = _arguments(annotation)
    if _is_union(annotation):
        return any(_is_of_type(value, argument) for argument in arguments)
    if _is_sequence(annotation):
        return isinstance(value, list | tuple) and all(
            any(_is_of_type(item, argument) for argument in arguments) for item in value
        )
    if not isinstance(annotation, type) or annotation not in _TYPES:
        return True
    # Python's True is a whole number.
    if isinstance(value, bool):
        return annotation is bool
    return isinstance(value, _TYPES[annotation][1])


def _describe(annotation: Any) -> str:
    """In words, what values fit an annotation that some do not fit."""
    arguments = ' or '.join(_describe(argument) for argument in _arguments(annotation))
    if _is_union(annotation):
        return arguments
    if _is_sequence(annotation):
        return f'a tuple of items that are each {arguments}'
    return _TYPES[annotation][0]


def _arguments(annotation: Any) -> list[Any]:
    return [a for a in typing.get_args(annotation) if a is not Ellipsis]


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, UnionType)


def _is_sequence(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Sequence, tuple, list)
