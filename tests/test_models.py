"""Models against NumPy, their sizes, and what any of them must be."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.models import MODELS, create_model
from fmnist_jax.models.check import check_model
from fmnist_jax.training.parallel import jit_once
from fmnist_jax.training.state import num_parameters
from tests.reference_models import (
    BATCH_NORM_MODELS,
    DROPOUT_RATES,
    PARAMETERS,
    REFERENCES,
    apply,
    apply_model,
    assert_close,
    logits_of,
    random_variables,
    relu,
    run_both,
    run_reference,
    shapes_of,
    tinyvgg,
)


@pytest.fixture(scope='module')
def images(dataset: Dataset) -> jax.Array:
    """Sixteen real images as models see them: float32 [16, 28, 28, 1]."""
    pixels, _ = dataset.split('test[:16]')
    return jnp.asarray((pixels / 255 - 0.286) / 0.353, jnp.float32)


@pytest.mark.parametrize('name', MODELS)
def test_every_registered_model_has_its_pinned_number_of_parameters(name):
    assert name in PARAMETERS, f'add the exact number of parameters of {name!r}'
    variables = shapes_of(create_model(name, num_classes=10))
    assert num_parameters(variables['params']) == PARAMETERS[name]


def test_the_explainers_model_has_its_published_number_of_parameters():
    model = create_model('tinyvgg_explainer', num_classes=10)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    )
    assert num_parameters(variables['params']) == 19920


def test_no_number_of_parameters_is_pinned_for_a_model_that_is_gone():
    assert PARAMETERS.keys() <= MODELS.keys()


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('name', REFERENCES)
def test_logits_in_evaluation_are_those_of_numpy(name, seed, images):
    (logits, _), (expected, _) = run_both(name, images, train=False, seed=seed)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected)


@pytest.mark.parametrize('name', REFERENCES)
def test_logits_in_training_are_those_of_numpy(name, images):
    (logits, _), (expected, _) = run_both(name, images, train=True, seed=2)
    assert_close(logits, expected)


@pytest.mark.parametrize('name', BATCH_NORM_MODELS)
def test_running_averages_after_a_training_batch_are_those_of_numpy(name, images):
    (_, new_stats), (_, expected) = run_both(name, images, train=True, seed=3)
    assert jax.tree.structure(new_stats) == jax.tree.structure(expected)
    jax.tree.map(assert_close, new_stats, expected)


def test_running_averages_stay_as_they_are_in_evaluation(images):
    model = create_model('bn_cnn', num_classes=10)
    variables = random_variables(model, 0)
    _, updates = apply(model, variables, images, train=False)
    jax.tree.map(
        np.testing.assert_array_equal,
        updates['batch_stats'],
        variables['batch_stats'],
    )


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_each_dropout_is_in_its_place_and_its_rate_an_array_input(name, images):
    model = create_model(name, num_classes=10)
    assert model.dropout_rate == DROPOUT_RATES[name]
    variables = random_variables(model, 7)
    traces = []

    @jit_once
    def call(variables, dropout_rate):
        traces.append(dropout_rate)
        return apply_model(model, variables, dropout_rate, images, train=True)[0]

    images = images[:4]
    for position in range(3):
        dropout_rate = tuple(jnp.float32(i == position) for i in range(3))
        expected, _ = run_reference(
            REFERENCES[name], variables, images, train=True, dropped=(position,)
        )
        with jax.default_matmul_precision('highest'):
            assert_close(call(variables, dropout_rate), expected)
    assert len(traces) == 1


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_nothing_is_dropped_in_evaluation(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 0)
    kept, _ = apply(model, variables, images, train=False)
    logits, _ = apply(model, variables, images, train=False, dropout_rate=(0.5,) * 3)
    np.testing.assert_array_equal(logits, kept)


@pytest.mark.parametrize('name', DROPOUT_RATES)
def test_a_rate_for_each_dropout_is_needed(name):
    model = create_model(name, num_classes=10, dropout_rate=(0.5, 0.5))
    with pytest.raises(UserError, match=r'dropout_rate must have 3 numbers.*not 2'):
        shapes_of(model)


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


ACTIVATIONS = {
    'relu': relu,
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'gelu': lambda x: x / 2 * (1 + erf(x / np.sqrt(2))),
    'sigmoid': lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_tinyvgg_with_batch_norm_and_any_activation_is_that_of_numpy(
    activation, images
):
    fields = {'num_blocks': 1, 'features': 4, 'batch_norm': True}
    model = create_model('tinyvgg', num_classes=10, activation=activation, **fields)
    variables = random_variables(model, 8)
    reference = functools.partial(
        tinyvgg, blocks=1, batch_norm=True, activation=ACTIVATIONS[activation]
    )
    images = images[:4]
    logits, updates = apply(model, variables, images, train=True)
    expected, new_stats = run_reference(reference, variables, images, train=True)
    assert_close(logits, expected)
    jax.tree.map(assert_close, updates['batch_stats'], new_stats)


@pytest.mark.parametrize('field', ['activation', 'padding', 'initializers'])
def test_a_value_that_tinyvgg_does_not_know_is_a_user_error(field):
    default = getattr(create_model('tinyvgg', num_classes=10), field)
    model = create_model('tinyvgg', num_classes=10, **{field: f'{default}x'})
    with pytest.raises(UserError, match=f'{field}.*; did you mean {default!r}'):
        shapes_of(model)


@pytest.mark.parametrize('name', REFERENCES)
def test_logits_of_an_image_do_not_depend_on_its_batch_mates(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 4)
    together = logits_of(model, variables, images)
    # The same image between others, in another place, and alone.
    others = jnp.concatenate([images[8:], images[:8]])
    moved = logits_of(model, variables, others)
    alone = logits_of(model, variables, images[:1])
    tolerance = {'rtol': 1e-4, 'atol': 1e-5 * np.abs(together).max()}
    np.testing.assert_allclose(moved[8:], together[:8], **tolerance)
    np.testing.assert_allclose(alone, together[:1], **tolerance)
    mates = images.at[1:].set(100 * images[1:, ::-1])
    np.testing.assert_allclose(
        logits_of(model, variables, mates)[:1], together[:1], **tolerance
    )


@pytest.mark.parametrize('name', REFERENCES)
def test_a_models_call_is_a_function_of_its_inputs(name, images):
    model = create_model(name, num_classes=10)
    variables = random_variables(model, 5)
    before = jax.tree.map(np.copy, variables)
    first, second = (logits_of(model, variables, images) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


@pytest.mark.parametrize('name', MODELS)
def test_images_of_other_sizes_and_other_numbers_of_classes_do(name):
    model = create_model(name, num_classes=47, axis_name='i')
    check_model(model, name, (32, 32, 3), 47)


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('tinyvgg', 3),
        ('tinyvgg_3block', 7),
        ('tinyvgg_explainer', 15),
        ('keras_tinyvgg', 17),
        ('arch1', 9),
        ('arch2', 9),
        ('vgg_like', 3),
        ('bn_cnn', 15),
        ('speednet', 8),
        ('compact', 3),
    ],
)
def test_images_that_are_too_small_are_a_user_error(name, size):
    model = create_model(name, num_classes=10)
    message = f"'{name}'.*images of {size}x{size + 9} pixels are too small for it"
    with pytest.raises(UserError, match=message):
        check_model(model, name, (size, size + 9, 1), 10)
    check_model(model, name, (size + 1, size + 1, 1), 10)
