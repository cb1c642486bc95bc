"""Robustness: a trained run in, its accuracy on corrupted images out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int, UInt8

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fmnist_jax.reporting.console import log, table
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.robustness import robustness_figure
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.reporting.units import percent
from fmnist_jax.training.evaluation.opened import OpenedRun, open_runs
from fmnist_jax.training.evaluation.scoring import Question
from fmnist_jax.training.state import num_parameters
from fmnist_jax.training.trained import TrainedModel

RESULT = 'robustness.json'
_FIGURE = 'robustness.png'
# Everybody's corrupted images are the same.
_SEED = 0


def measure_robustness(
    workdir: epath.PathLike,
    split: str = 'test',
    checkpoint: str = 'best',
    *,
    data_dir: str | None = None,
    idx_dir: str | None = None,
) -> dict[str, Any]:
    """Scores a checkpoint under every corruption and writes it to `eval/SPLIT/`.

    Args:
      workdir: of a run.
      split: `train`, `validation` or `test`, as the run's config defines them.
      checkpoint: `best`, `last` or a step.
      data_dir: where data are prepared, if not where the run had them.
      idx_dir: a folder of IDX files, likewise.

    Returns:
      What `robustness.json` holds: accuracies are fractions; `mean` is over the
      severities of a corruption, `mean_corruption_accuracy` over all corruptions.

    Raises:
      UserError: there is no such run or checkpoint, or the data are not the run's.
    """
    [run] = open_runs([workdir], checkpoint, data_dir=data_dir, idx_dir=idx_dir)
    target = Question(split).folder_in(run.folder)
    dataset = run.load_data()
    model = run.restore(dataset)
    spec = run.config.data[f'{split}_split']
    images, labels = dataset.split(spec)
    clean, corruptions = _score(run, model, split, images, labels.astype(np.int64))
    means = [row['mean'] for row in corruptions.values()]
    result = {
        'split': split,
        'split_spec': spec,
        'checkpoint': checkpoint,
        'checkpoint_step': run.step,
        'num_parameters': num_parameters(model.params),
        'num_examples': len(labels),
        'selection': run.selection(dataset, spec),
        'seed': _SEED,
        'severities': list(SEVERITIES),
        'clean_accuracy': clean,
        'mean_corruption_accuracy': float(np.mean(means)),
        'corruptions': corruptions,
    }
    log(_table(result))
    workdir_lib.write_json(target / RESULT, result)
    log(f'robustness: {target / RESULT}')
    figure = robustness_figure(result, _examples(images[:1]))
    workdir_lib.write_bytes(target / _FIGURE, style.to_png(figure))
    log(f'figure: {target / _FIGURE}')
    return result


def _score(
    run: OpenedRun,
    model: TrainedModel,
    split: str,
    images: UInt8[np.ndarray, 'n h w c'],
    labels: Int[np.ndarray, ' n'],
) -> tuple[float, dict[str, dict[str, Any]]]:
    """Accuracy on images as they are; and for each corruption its own."""
    predict = model.predictor()

    def accuracy(seen: UInt8[np.ndarray, 'n h w c']) -> float:
        said = predict(seen)
        run.check_finite(said, split)
        return loss_and_accuracy(said, labels)['accuracy']

    clean = accuracy(images)
    log(f'clean: accuracy {clean:.4f}')
    corruptions = {}
    for name, corruption in CORRUPTIONS.items():
        found = [accuracy(corrupt(images, name, s, _SEED)) for s in SEVERITIES]
        corruptions[name] = {
            'parameter': corruption.parameter,
            'strengths': list(corruption.strengths),
            'accuracy': found,
            'mean': float(np.mean(found)),
        }
        log(f'{name}: mean accuracy {corruptions[name]["mean"]:.4f}')
    return clean, corruptions


def _examples(
    images: UInt8[np.ndarray, '1 h w c'],
) -> dict[str, list[UInt8[np.ndarray, 'h w c']]]:
    """An image as it is, and at each severity, by corruption."""
    return {
        name: [images[0], *(corrupt(images, name, s, _SEED)[0] for s in SEVERITIES)]
        for name in CORRUPTIONS
    }


def _table(result: Mapping[str, Any]) -> str:
    """Accuracies in per cent, a corruption a row."""
    rows = [
        (name.replace('_', ' '), *map(percent, (*row['accuracy'], row['mean'])))
        for name, row in result['corruptions'].items()
    ]
    columns = zip(
        *(row['accuracy'] for row in result['corruptions'].values()), strict=True
    )
    means = [float(np.mean(column)) for column in columns]
    overall = (*means, result['mean_corruption_accuracy'])
    rows.append(('mean corruption accuracy', *map(percent, overall)))
    rows.append(('clean', *[''] * len(SEVERITIES), percent(result['clean_accuracy'])))
    severities = [f'severity {severity}' for severity in SEVERITIES]
    return table(rows, ('accuracy', *severities, 'mean'))
