"""How a model is found by its name, and what may be set."""

import pytest
from flax import linen as nn

from fmnist_jax.errors import UserError
from fmnist_jax.models import MODELS, create_model
from fmnist_jax.models.arch1 import Arch1
from fmnist_jax.models.arch2 import Arch2
from fmnist_jax.models.bn_cnn import BatchNormCNN
from fmnist_jax.models.check import check_model
from fmnist_jax.models.compact import Compact
from fmnist_jax.models.keras_tinyvgg import KerasTinyVGG
from fmnist_jax.models.layers import Dropout
from fmnist_jax.models.linear import Linear
from fmnist_jax.models.resnet import ResNet
from fmnist_jax.models.speednet import SpeedNet
from fmnist_jax.models.tinyvgg import TinyVGG
from fmnist_jax.models.vgg_like import VGGLike
from fmnist_jax.models.wide_resnet import WideResNet
from tests.reference_models import (
    IMAGE_SHAPE,
    shapes_of,
)


@pytest.mark.parametrize(
    ('name', 'model_class'),
    [
        ('linear', Linear),
        ('linear_v0', Linear),
        ('tinyvgg', TinyVGG),
        ('tinyvgg_3block', TinyVGG),
        ('tinyvgg_explainer', TinyVGG),
        ('keras_tinyvgg', KerasTinyVGG),
        ('arch1', Arch1),
        ('arch2', Arch2),
        ('vgg_like', VGGLike),
        ('bn_cnn', BatchNormCNN),
        ('resnet20', ResNet),
        ('wrn_16_4', WideResNet),
        ('wrn_28_10', WideResNet),
        ('wrn_40_4', WideResNet),
        ('speednet', SpeedNet),
        ('compact', Compact),
    ],
)
def test_a_registered_name_gives_its_class(name, model_class):
    model = create_model(name, num_classes=7)
    assert type(model) is model_class
    assert model.num_classes == 7


def test_fields_are_handed_to_the_model():
    model = create_model('tinyvgg', num_classes=10, features=16, num_blocks=3)
    assert (model.features, model.num_blocks) == (16, 3)
    params = shapes_of(model)['params']
    assert params['Conv_5']['kernel'].shape == (3, 3, 16, 16)


def test_a_field_that_a_registered_name_sets_can_be_set_otherwise():
    model = create_model('tinyvgg_3block', num_classes=10, num_blocks=1, features=4)
    assert (model.num_blocks, model.features) == (1, 4)
    assert create_model('tinyvgg_3block', num_classes=10).num_blocks == 3
    # A list is what JSON, in which a run's config is kept, makes of a tuple.
    assert create_model('linear_v0', num_classes=10, hidden=[5, 4]).hidden == (5, 4)


@pytest.mark.parametrize('name', [*MODELS, 'tinyvgg with BatchNorm'])
def test_the_axis_name_reaches_every_layer_that_needs_it(name):
    fields = {'batch_norm': True} if 'with' in name else {}
    model = create_model(name.split()[0], num_classes=10, axis_name='i', **fields)
    found = []

    def intercept(function, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm | Dropout):
            found.append(context.module.axis_name)
        return function(*args, **kwargs)

    with nn.intercept_methods(intercept):
        shapes_of(model)
    counts = {
        'arch1': 5,
        'arch2': 5,
        'vgg_like': 8,
        'bn_cnn': 2,
        'resnet20': 21,
        'wrn_16_4': 13,
        'wrn_28_10': 25,
        'wrn_40_4': 37,
        'speednet': 6,
        'compact': 4,
        'tinyvgg with BatchNorm': 4,
    }
    assert found == ['i'] * counts.get(name, 0)


def test_a_field_that_a_model_does_not_have_is_a_user_error():
    with pytest.raises(UserError, match="'feature'; did you mean 'features'"):
        create_model('tinyvgg', num_classes=10, feature=8)
    with pytest.raises(UserError, match="'hiden'; did you mean 'hidden'"):
        create_model('linear_v0', num_classes=10, hiden=(8,))


@pytest.mark.parametrize(
    ('name', 'field', 'value'),
    [
        ('tinyvgg', 'features', 'ten'),
        ('tinyvgg', 'features', 2.5),
        ('tinyvgg_3block', 'num_blocks', '3'),
        ('tinyvgg', 'activation', None),
        ('linear', 'hidden', 10),
        ('linear', 'hidden', (10, '5')),
        ('linear', 'hidden', (0,)),
        ('bn_cnn', 'hidden', 0),
        ('arch1', 'dropout_rate', 0.5),
        ('arch1', 'dropout_rate', (0.1, 0.2)),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_user_error(name, field, value):
    with pytest.raises(UserError) as caught:
        model = create_model(name, num_classes=10, **{field: value})
        check_model(model, name, IMAGE_SHAPE, 10)
    assert '\n' not in str(caught.value)
    assert 'model' in str(caught.value)
