"""Image classifiers as Flax Linen modules, found by name.

A model's call is `model(images, *, train)`: floating-point images [batch, height,
width, channels], normalised as the config says, to logits [batch, classes]. Its
collections are `params` and `batch_stats`, its random stream `dropout`. To add one,
write a module and add a line to `MODELS`; or keep it anywhere that Python can import
and name it `package.module:Class`.
"""

import dataclasses
import importlib
from types import MappingProxyType
from typing import Any

from flax import linen as nn

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.models.bn_cnn import BatchNormCNN
from fmnist_jax.models.linear import Linear
from fmnist_jax.models.tinyvgg import TinyVGG

MODELS = MappingProxyType(
    {
        'linear': Linear,
        'tinyvgg': TinyVGG,
        'bn_cnn': BatchNormCNN,
    }
)


def create_model(
    name: str, *, num_classes: int, axis_name: str | None = None, **fields: Any
) -> nn.Module:
    """Makes a model.

    Args:
      name: a registered name, or `package.module:Class`.
      num_classes: number of logits.
      axis_name: the mapped axis to average BatchNorm's statistics over; handed on to
        the models that have such a field.
      **fields: the model's other fields.

    Raises:
      UserError: there is no such model, or it has no such field.
    """
    model_class = _import_class(name) if ':' in name else MODELS.get(name)
    if model_class is None:
        raise unknown_name('model', name, MODELS)
    # Flax gives every module `name` and `parent`, for its own use.
    fields_of_class = dataclasses.fields(model_class)
    known = {field.name for field in fields_of_class} - {'name', 'parent'}
    if axis_name is not None and 'axis_name' in known:
        fields['axis_name'] = axis_name
    for field in ('num_classes', *fields):
        if field not in known:
            raise unknown_name(f'field of model {name!r}', field, known)
    return model_class(num_classes=num_classes, **fields)


def _import_class(name: str) -> type[nn.Module]:
    module_name, _, class_name = name.partition(':')
    if not all(part.isidentifier() for part in module_name.split('.')):
        raise UserError(f'model {name!r} cannot be imported: not package.module:Class')
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # What the module itself fails to import is its author's to see in full.
        if not f'{module_name}.'.startswith(f'{error.name}.'):
            raise
        raise UserError(f'model {name!r} cannot be imported: {error}') from error
    model_class = getattr(module, class_name, None)
    if model_class is None:
        raise UserError(
            f'model {name!r} cannot be imported: {module_name} has no {class_name!r}'
        )
    if not (isinstance(model_class, type) and issubclass(model_class, nn.Module)):
        raise UserError(f'model {name!r} is not a flax.linen.Module class')
    return model_class
