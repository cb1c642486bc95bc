"""Temperature scaling, where the right temperature is known."""

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import log_loss

from fmnist_jax.reporting.temperature import fit_temperature, scale


def draw(temperature: float, count: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn from them at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 4), scale=2).astype(np.float32)
    probabilities = special.softmax(logits / temperature, axis=1)
    labels = (rng.random((count, 1)) > probabilities.cumsum(1)).sum(1).clip(max=3)
    return logits, labels


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature):
    assert fit_temperature(*draw(temperature)) == pytest.approx(temperature, rel=0.02)


def test_no_other_temperature_has_less_loss():
    logits, labels = draw(1.7, 2000)
    found = fit_temperature(logits, labels)
    losses = [
        log_loss(labels, special.softmax(logits.astype(float) / t, axis=1))
        for t in found * np.array([1, 0.5, 0.99, 0.999, 1.001, 1.01, 2])
    ]
    assert min(losses) == losses[0]


def test_a_constant_added_to_a_row_changes_nothing():
    logits, labels = draw(2.0, 2000)
    shifted = logits.astype(np.float64) + np.arange(2000)[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-5
    )
    np.testing.assert_allclose(scale(shifted, 3.0), scale(logits, 3.0), atol=1e-9)


def test_scaling_keeps_the_order_of_classes_and_gives_probabilities():
    logits, _ = draw(1.0, 500)
    scaled = scale(logits, 1.3)
    np.testing.assert_array_equal(scaled.argsort(1), logits.argsort(1))
    np.testing.assert_allclose(np.exp(scaled).sum(1), 1)
    expected = special.softmax(logits.astype(float) / 1.3, axis=1)
    np.testing.assert_allclose(np.exp(scaled), expected)


def test_a_model_without_a_mistake_has_a_temperature():
    logits, _ = draw(1.0, 500)
    found = fit_temperature(logits, logits.argmax(1))
    assert 0.01 <= found < 0.02
    assert np.isfinite(scale(logits, found)).all()
