"""Scores of one model, or of several together: a split in, numbers out."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float, UInt8

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset, views
from fmnist_jax.errors import UserError
from fmnist_jax.reporting import temperature
from fmnist_jax.reporting.gallery import Scored
from fmnist_jax.reporting.metrics import (
    calibration_bins,
    classification_report,
    expected_calibration_error,
    loss_and_accuracy,
)
from fmnist_jax.training.evaluation.opened import OpenedRun
from fmnist_jax.training.trained import TrainedModel


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of a model.

    Attributes:
      split: `train`, `validation` or `test`, as the run's config defines them.
      views: of each image, over which the mean is taken; see `data.views`.
      calibrate: whether a temperature is fitted on the validation split.

    Raises:
      UserError: there are no such views.
    """

    split: str = 'test'
    views: str = views.NONE
    calibrate: bool = False

    def __post_init__(self):
        views.check_name(self.views)

    def folder_in(self, workdir: epath.Path) -> epath.Path:
        """Where the results go: those of several views never replace the others.

        Raises:
          UserError: it cannot be written to.
        """
        name = self.split
        if self.views != views.NONE:
            name = f'{name}-{self.views}'
        folder = workdir / workdir_lib.EVALUATION / name
        workdir_lib.check(folder, 'evaluate writes its results there')
        return folder


def check_calibration(question: Question, dataset: Dataset, run: OpenedRun) -> None:
    """Checks that a temperature fitted on validation says something of the split.

    Raises:
      UserError: the split shares images with validation, or the model was trained on
        these.
    """
    if not question.calibrate:
        return
    data = run.config.data
    validation, scored = data.validation_split, data[f'{question.split}_split']
    if shared := dataset.num_shared(scored, [validation]):
        raise UserError(
            f'--calibrate fits a temperature on validation ({validation}), which '
            f'shares {shared:,} images with {question.split} ({scored}), so that the '
            'figures would be optimistic; score another --split, or leave it out'
        )
    if trained := run.selection(dataset, validation)['shared_with_train']:
        raise UserError(
            f'--calibrate fits a temperature on validation ({validation}), but '
            f'{run.folder} was trained on {trained:,} of its images, of which it is '
            'surer than of new ones; leave it out'
        )


def score(
    runs: Sequence[OpenedRun],
    models: Sequence[TrainedModel],
    dataset: Dataset,
    question: Question,
) -> tuple[Scored, dict[str, Any]]:
    """The mean of what models say of a split, and what follows from it.

    Args:
      runs: of the models; all define the splits alike.
      models: one or more.
      dataset: of all of them.
      question: which split, and how.

    Returns:
      The split with the logarithm of the mean of the models' probabilities, and what
      `metrics.json` says of it: all of `classification_report`, unscaled whether or
      not there is `calibration`; `views`, if several.

    Raises:
      UserError: a model's probabilities are not finite.
    """
    data = runs[0].config.data
    splits = [question.split, *(['validation'] if question.calibrate else [])]
    specs = [data[f'{split}_split'] for split in splits]
    examples = [dataset.split(spec) for spec in specs]
    parts = [
        _ask(run, model, [images for images, _ in examples], splits, question.views)
        for run, model in zip(runs, models, strict=True)
    ]
    images, labels = examples[0]
    # The models of an ensemble, and then the splits.
    said, *others = (
        mean_log_probabilities(split) for split in zip(*parts, strict=True)
    )
    scored = Scored(images, labels.astype(np.int64), said, dataset.class_names)
    metrics = classification_report(said, scored.labels, dataset.class_names)
    if question.views != views.NONE:
        metrics['views'] = question.views
    if question.calibrate:
        fitted = temperature.fit_temperature(others[0], examples[1][1])
        metrics['calibration'] = {
            'temperature': fitted,
            'split_spec': specs[1],
            'num_examples': len(examples[1][1]),
            **_calibrated(scored, fitted),
        }
    return scored, metrics


def mean_log_probabilities(
    parts: Sequence[Float[np.ndarray, 'n classes']],
) -> Float[np.ndarray, 'n classes']:
    """The logarithm of the mean of probabilities, in the first part's dtype.

    Args:
      parts: log-probabilities of the same images: of several views, or models. A single
        one is given back as it is.
    """
    if len(parts) == 1:
        return parts[0]
    wide = np.stack(parts).astype(np.float64)
    mean = np.logaddexp.reduce(wide, axis=0) - np.log(len(parts))
    return mean.astype(parts[0].dtype)


def _ask(
    run: OpenedRun,
    model: TrainedModel,
    splits: Sequence[UInt8[np.ndarray, '_ h w c']],
    names: Sequence[str],
    name_of_views: str,
) -> list[Float[np.ndarray, '_ classes']]:
    """What a model says of each split."""
    predict = model.predictor()
    answers = []
    for images, name in zip(splits, names, strict=True):
        seen = views.views_of(images, name_of_views)
        answer = mean_log_probabilities([predict(view) for view in seen])
        run.check_finite(answer, name)
        answers.append(answer)
    return answers


def _calibrated(scored: Scored, fitted: float) -> dict[str, Any]:
    """Figures of a split at a temperature."""
    scaled = temperature.scale(scored.log_probabilities, fitted)
    bins = calibration_bins(scaled, scored.labels)
    return {
        'ece': expected_calibration_error(bins),
        'nll': loss_and_accuracy(scaled, scored.labels)['loss'],
        'calibration_bins': bins,
    }
