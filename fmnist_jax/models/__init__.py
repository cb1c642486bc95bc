"""Image classifiers as Flax Linen modules, found by name.

A model's call is `model(images, *, train)`: floating-point images [batch, height,
width, channels], normalised as the config says, to logits [batch, classes]. Its
collections are `params` and `batch_stats`, its random stream `dropout`. To add one,
write a module and add a line to `MODELS`; or keep it anywhere that Python can import
and name it `package.module:Class`.
"""

import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from flax import linen as nn

from fmnist_jax.errors import UserError, explain, unknown_name
from fmnist_jax.models.arch1 import Arch1
from fmnist_jax.models.arch2 import Arch2
from fmnist_jax.models.bn_cnn import BatchNormCNN
from fmnist_jax.models.compact import Compact
from fmnist_jax.models.fields import check_fields, field_names
from fmnist_jax.models.keras_tinyvgg import KerasTinyVGG
from fmnist_jax.models.linear import Linear
from fmnist_jax.models.own import class_of, import_model
from fmnist_jax.models.resnet import ResNet
from fmnist_jax.models.speednet import SpeedNet
from fmnist_jax.models.tinyvgg import TinyVGG
from fmnist_jax.models.vgg_like import VGGLike
from fmnist_jax.models.wide_resnet import WideResNet

# Classes, or partials that set some of a class's fields to other defaults.
MODELS: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        'linear': Linear,
        'linear_v0': functools.partial(Linear, hidden=(10,)),
        'tinyvgg': TinyVGG,
        'tinyvgg_3block': functools.partial(TinyVGG, num_blocks=3),
        'tinyvgg_explainer': functools.partial(
            TinyVGG, padding='VALID', initializers='keras'
        ),
        'keras_tinyvgg': KerasTinyVGG,
        'arch1': Arch1,
        'arch2': Arch2,
        'vgg_like': VGGLike,
        'bn_cnn': BatchNormCNN,
        'resnet20': functools.partial(ResNet, depth=20),
        'wrn_16_4': functools.partial(WideResNet, depth=16, widening=4),
        'wrn_28_10': functools.partial(WideResNet, depth=28, widening=10),
        'wrn_40_4': functools.partial(WideResNet, depth=40, widening=4),
        'speednet': SpeedNet,
        'compact': Compact,
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
      UserError: there is no such model, it has no such field, a field that it needs is
        missing or of the wrong type, or the model refuses them.
    """
    factory = import_model(name) if ':' in name else MODELS.get(name)
    if factory is None:
        raise unknown_name('model', name, MODELS)
    # Configs are kept in JSON, which knows no tuples; a module must be hashable.
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    if axis_name is not None and 'axis_name' in field_names(factory):
        fields['axis_name'] = axis_name
    fields['num_classes'] = num_classes
    check_fields(factory, name, fields)
    try:
        return factory(**fields)
    except UserError:
        raise
    except Exception as error:
        problem = explain(error, class_of(factory).__module__)
        raise UserError(f'model {name!r} cannot be made: {problem}') from error
