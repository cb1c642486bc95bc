"""Classification metrics from log-probabilities, in NumPy and float64."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

_ECE_BINS = 15


def loss_and_accuracy(
    log_probabilities: Float[np.ndarray, 'n classes'], labels: Integer[np.ndarray, ' n']
) -> dict[str, float]:
    """Mean cross-entropy (nats) and the fraction classified correctly."""
    own = log_probabilities[np.arange(len(labels)), labels]
    correct = log_probabilities.argmax(1) == labels
    return {
        'loss': float(-own.astype(np.float64).mean()),
        'accuracy': float(correct.mean()),
    }


def top_classes(values: Float[np.ndarray, ' classes'], count: int) -> list[int]:
    """The labels of the largest values, largest first; of equals, the smaller label.

    Args:
      values: (log-)probabilities or logits of one example.
      count: how many labels, at most.
    """
    return np.argsort(-values, kind='stable')[:count].tolist()


def confusion_matrix(
    predicted: Integer[np.ndarray, ' n'],
    labels: Integer[np.ndarray, ' n'],
    num_classes: int,
) -> Int[np.ndarray, 'classes classes']:
    """Counts; rows are true labels, columns predicted ones."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def accuracy_interval(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy: Wilson (1927), without continuity correction.

    It says how far the accuracy on other images like these may be, not how much it
    varies over seeds.

    Args:
      correct: how many were classified correctly.
      count: of how many.
    """
    accuracy, z = correct / count, 1.959963984540054
    middle = accuracy + z**2 / (2 * count)
    half = z * math.sqrt(accuracy * (1 - accuracy) / count + (z / (2 * count)) ** 2)
    scale = 1 + z**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def calibration_bins(
    log_probabilities: Float[np.ndarray, 'n classes'], labels: Integer[np.ndarray, ' n']
) -> list[dict[str, Any]]:
    """Confidence against accuracy, over 15 bins of equal width.

    Guo et al. (2017), https://arxiv.org/abs/1706.04599; a bin is open below and closed
    above, the first closed at both ends.

    Returns:
      For each bin that holds examples its bounds `lower` and `upper`, their `count`,
      their mean `confidence` (probability of the predicted class) and `accuracy`.
    """
    confidence = np.exp(log_probabilities.max(1).astype(np.float64))
    correct = log_probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * _ECE_BINS).astype(int) - 1, 0, _ECE_BINS - 1)
    return [
        {
            'lower': number / _ECE_BINS,
            'upper': (number + 1) / _ECE_BINS,
            'count': int((bins == number).sum()),
            'confidence': float(confidence[bins == number].mean()),
            'accuracy': float(correct[bins == number].mean()),
        }
        for number in np.unique(bins).tolist()
    ]


def expected_calibration_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """Mean gap between confidence and accuracy over `calibration_bins`."""
    gaps = [bin['count'] * abs(bin['accuracy'] - bin['confidence']) for bin in bins]
    return float(sum(gaps) / sum(bin['count'] for bin in bins))


def classification_report(
    log_probabilities: Float[np.ndarray, 'n classes'],
    labels: Integer[np.ndarray, ' n'],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """All that `eval/SPLIT/metrics.json` says of predictions.

    A class never predicted has precision 0, one that never occurs recall 0 (as
    scikit-learn's `zero_division=0`).
    """
    predicted = log_probabilities.argmax(1)
    matrix = confusion_matrix(predicted, labels, len(class_names))
    per_class = _per_class(matrix, class_names)
    weights = {'macro_avg': None, 'weighted_avg': matrix.sum(1)}
    summary = loss_and_accuracy(log_probabilities, labels)
    bins = calibration_bins(log_probabilities, labels)
    correct, count = int(np.trace(matrix)), len(labels)
    return {
        **summary,
        'accuracy_interval': list(accuracy_interval(correct, count)),
        'nll': summary['loss'],
        'num_examples': count,
        'ece': expected_calibration_error(bins),
        'calibration_bins': bins,
        'per_class': per_class,
        **{key: _average(per_class, weight) for key, weight in weights.items()},
        'most_confused': _most_confused(matrix),
        'confusion_matrix': matrix.tolist(),
    }


def _per_class(
    matrix: Int[np.ndarray, 'c c'], class_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    hits, support, claimed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    precision = hits / np.maximum(claimed, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + claimed, 1)
    return [
        {
            'label': label,
            'name': name,
            'precision': float(precision[label]),
            'recall': float(recall[label]),
            'f1': float(f1[label]),
            'support': int(support[label]),
        }
        for label, name in enumerate(class_names)
    ]


def _average(
    per_class: list[dict[str, Any]], weights: np.ndarray | None
) -> dict[str, float]:
    means = {
        key: float(np.average([row[key] for row in per_class], weights=weights))
        for key in ('precision', 'recall', 'f1')
    }
    return {**means, 'support': sum(row['support'] for row in per_class)}


def _most_confused(matrix: Int[np.ndarray, 'c c']) -> list[dict[str, Any]]:
    """Pairs of true and predicted label that occur, the most frequent first."""
    support = matrix.sum(1)
    pairs = [
        {
            'label': int(label),
            'predicted': int(predicted),
            'count': int(matrix[label, predicted]),
            'rate': float(matrix[label, predicted] / support[label]),
        }
        for label, predicted in np.argwhere(matrix)
        if label != predicted
    ]
    return sorted(pairs, key=lambda p: (-p['count'], p['label'], p['predicted']))
