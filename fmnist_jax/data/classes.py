"""What the labels and class names of one's own data say of the classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from fmnist_jax.data.folder import IdxFiles
from fmnist_jax.errors import UserError

# Evaluation keeps the confusion matrix, classes squared: with so many, it takes two
# minutes and 10 GB of memory, and `metrics.json` 0.9 GB.
MAX_CLASSES = 10_000


def check_labels(found: IdxFiles, class_names: Sequence[str] | None) -> None:
    """Checks that labels are classes: 0 to their number, less one.

    Args:
      found: labels of any integer type.
      class_names: one a class; None where the largest training label tells how many
        classes there are.

    Raises:
      UserError: a label is out of range.
    """
    if class_names is not None and len(class_names) > MAX_CLASSES:
        raise UserError(
            f'data.class_names has {len(class_names):,} names; no more than '
            f'{MAX_CLASSES:,} classes are supported'
        )
    for split in ('train', 'test'):
        if class_names is not None:
            limit = len(class_names)
            reason = f'the last of data.class_names is {class_names[-1]!r}'
        elif split == 'train':
            limit = MAX_CLASSES
            reason = f'no more than {MAX_CLASSES:,} classes are supported'
        else:
            limit = _number(found.arrays)
            reason = (
                'the range of the training labels (if it is right, data.class_names '
                'settles the number of classes)'
            )
        labels = found.arrays[f'{split}_labels']
        outside = (labels < 0) | (labels >= limit)
        if outside.any():
            position = int(np.argmax(outside))
            if labels[position] < 0:
                reason = 'labels count from 0'
            raise UserError(
                f'{found.paths[f"{split}_labels"]}: label {labels[position]} of image '
                f'{position} is out of range 0 to {limit - 1}: {reason}'
            )


def numbered(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The names of classes that have none: their labels."""
    return tuple(str(label) for label in range(_number(arrays)))


def missing(arrays: Mapping[str, np.ndarray], class_names: Sequence[str]) -> str | None:
    """Says which classes have no training image; None if all have."""
    counts = np.bincount(arrays['train_labels'], minlength=len(class_names))
    absent = np.flatnonzero(counts == 0)
    if not len(absent):
        return None
    names = ', '.join(class_names[label] for label in absent[:10])
    return (
        f'{len(absent)} of {len(class_names)} classes have no training image: '
        f'{names}{", …" if len(absent) > 10 else ""}'
    )


def _number(arrays: Mapping[str, np.ndarray]) -> int:
    return int(arrays['train_labels'].max()) + 1
