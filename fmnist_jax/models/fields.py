"""The fields of a model's class, and those among them that have a meaning here."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn
from jaxtyping import PyTree

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.models.own import class_of


def field_names(factory: Callable[..., nn.Module] | nn.Module) -> set[str]:
    """The fields that can be set, of a model or of what makes one."""
    return {field.name for field in _fields(factory)}


def _fields(factory: Any) -> list[dataclasses.Field]:
    # Flax gives every module `name` and `parent`, for its own use.
    fields = dataclasses.fields(class_of(factory))
    return [f for f in fields if f.init and f.name not in ('name', 'parent')]


def check_fields(
    factory: Callable[..., nn.Module], name: str, values: Mapping[str, Any]
) -> None:
    """Checks the names of a model's fields, `num_classes` among them.

    Args:
      factory: a Linen module's class, or a `functools.partial` of one.
      name: the model's, for messages.
      values: by field; those that the partial sets may be left out.

    Raises:
      UserError: there is no such field, or one without a default is missing.
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
        without_default = dataclasses.MISSING is field.default is field.default_factory
        if without_default and field.name not in given:
            raise UserError(
                f'model {name!r} needs a value for its field {field.name!r}: set '
                f'config.model.{field.name}'
            )


def dropout_rate_of(model: nn.Module) -> PyTree:
    """A model's field `dropout_rate`; () if it has none."""
    return model.dropout_rate if 'dropout_rate' in field_names(model) else ()


def with_dropout_rate(model: nn.Module, dropout_rate: PyTree) -> nn.Module:
    """The model with other rates, numbers or arrays, if it has such a field."""
    if 'dropout_rate' not in field_names(model):
        return model
    return model.clone(dropout_rate=dropout_rate)
