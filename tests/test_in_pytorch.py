"""The projects' recipes in PyTorch, on few images; and what is told of them."""

import pytest

from fmnist_jax.models import create_model

torch = pytest.importorskip('torch', reason="needs the extra 'bench'")
in_pytorch = pytest.importorskip('results.in_pytorch')


@pytest.mark.slow
@pytest.mark.parametrize('row', ['keras_tinyvgg', 'tinyvgg_sgd', 'bn_cnn-500-0.001'])
def test_a_recipe_learns(row):
    first, *_, last = in_pytorch.train(row, 0, 'train[:2000]', num_epochs=5)
    assert last['train_loss'] < first['train_loss']
    assert last['train_accuracy'] > first['train_accuracy']
    assert 0 < last['test_accuracy'] < 100


def test_models_have_as_many_parameters_as_ours():
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    for name, make in (
        ('keras_tinyvgg', in_pytorch.ROWS['keras_tinyvgg'].model),
        ('tinyvgg', in_pytorch.ROWS['tinyvgg_sgd'].model),
        ('bn_cnn', in_pytorch.ROWS['bn_cnn-500-0.001'].model),
    ):
        model = create_model(name, num_classes=10)
        images = jnp.zeros((1, 28, 28, 1))
        params = jax.eval_shape(
            lambda model=model, images=images: model.init(
                jax.random.key(0), images, train=False
            )
        )['params']
        ours = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert sum(p.numel() for p in make().parameters()) == ours


def test_s4s_score_is_of_the_batch(dataset):
    """In training mode an image's prediction depends on the others."""
    images, labels = in_pytorch._tensors(*dataset.split('test[:200]'))
    torch.manual_seed(0)
    model = in_pytorch.ROWS['bn_cnn-100-0.001'].model()
    both = in_pytorch._score_as_s4(model, images, labels)
    half = in_pytorch._score_as_s4(model, images[:100], labels[:100])
    other = in_pytorch._score_as_s4(model, images[100:], labels[100:])
    assert both['test_loss'] != pytest.approx(
        (half['test_loss'] + other['test_loss']) / 2, rel=1e-6
    )
