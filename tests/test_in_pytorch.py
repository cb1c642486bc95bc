"""The projects' recipes in PyTorch, on few images; and what is told of them."""

import numpy as np
import pytest

from results.reproduction.recipes import PROJECTS
from tests.reference_models import PARAMETERS

torch = pytest.importorskip('torch', reason="needs the extra 'bench'")
in_pytorch = pytest.importorskip('results.reproduction.in_pytorch')


@pytest.mark.slow
@pytest.mark.parametrize('row', ['keras_tinyvgg', 'tinyvgg_sgd', 'bn_cnn-500-0.001'])
def test_a_recipe_learns(row):
    first, *_, last = in_pytorch.train(row, 0, 'train[:2000]', num_epochs=5)
    assert last['train_loss'] < first['train_loss']
    assert last['train_accuracy'] > first['train_accuracy']
    assert 0 < last['test_accuracy'] < 100


@pytest.mark.parametrize(
    ('name', 'row'),
    [
        ('keras_tinyvgg', 'keras_tinyvgg'),
        ('linear', 'linear'),
        ('tinyvgg', 'tinyvgg_sgd'),
        ('bn_cnn', 'bn_cnn-500-0.001'),
    ],
)
def test_models_have_as_many_parameters_as_ours(name, row):
    model = in_pytorch.ROWS[row].model()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_s1_begins_as_keras_does():
    """Glorot and Bengio (2010): uniform to √(6 / (fan in + fan out)); biases zero."""
    torch.manual_seed(0)
    weights = dict(in_pytorch.ROWS['keras_tinyvgg'].model().named_parameters())
    for name, values in weights.items():
        if name.endswith('bias'):
            assert not values.any()
            continue
        num_out, num_in, *window = values.shape
        bound = (6 / ((num_in + num_out) * np.prod(window))) ** 0.5
        assert 0.95 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


def test_numbers_are_drawn_in_the_order_of_s2s_notebook(dataset):
    images, labels = in_pytorch._tensors(*dataset.split('train[:96]'))
    examples = torch.utils.data.TensorDataset(images.float() / 255, labels)
    loader = torch.utils.data.DataLoader(examples, 32, shuffle=True)
    torch.manual_seed(42)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(42)
    losses = []
    for _ in range(2):
        losses.append(0.0)
        for x, y in loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1] += loss.item() / len(loader)
        # The notebook scores after each epoch, by a loader that draws a number.
        next(iter(torch.utils.data.DataLoader(examples, 32)))
    epochs = in_pytorch.train('linear', 42, 'train[:96]', num_epochs=2)
    np.testing.assert_allclose([x['train_loss'] for x in epochs], losses, rtol=1e-5)


def test_s2_set_the_same_seed_for_all_rows():
    rows = {recipe.name for recipe in PROJECTS['S2']}
    own_seeds = dict(in_pytorch.OWN_SEEDS)
    assert own_seeds == dict.fromkeys(rows, 42)


def test_what_is_trained_on(dataset, monkeypatch):
    monkeypatch.setattr(in_pytorch, '_make_rand_augment', lambda: lambda x: 255 - x)
    split = images, labels = in_pytorch._tensors(*dataset.split('train[:120]'))
    for which, expected in {
        'original': [images],
        'augmented': [255 - images],
        'both': [255 - images, images],
    }.items():
        examples = list(in_pytorch._examples(which, split))
        assert torch.equal(torch.stack([x for x, _ in examples]), torch.cat(expected))
        assert [int(y) for _, y in examples] == labels.tolist() * len(expected)


def test_s4s_score_is_of_the_batch(dataset):
    """In training mode an image's prediction depends on the others."""
    images, labels = in_pytorch._tensors(*dataset.split('test[:200]'))
    torch.manual_seed(0)
    model = in_pytorch.ROWS['bn_cnn-100-0.001'].model()
    both = in_pytorch._score_as_s4(model, (images, labels))
    half = in_pytorch._score_as_s4(model, (images[:100], labels[:100]))
    other = in_pytorch._score_as_s4(model, (images[100:], labels[100:]))
    assert both['test_loss'] != pytest.approx(
        (half['test_loss'] + other['test_loss']) / 2, rel=1e-6
    )
