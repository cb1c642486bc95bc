"""Evaluation of a trained run: a checkpoint and a split in, metrics out."""

import io
from typing import Any

import numpy as np
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import load_dataset
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log, per_class_table
from fmnist_jax.reporting.metrics import classification_report
from fmnist_jax.training import provenance, trained
from fmnist_jax.training.checkpoint import Checkpoints
from fmnist_jax.training.experiment import configure_jax
from fmnist_jax.training.state import num_parameters


def evaluate(
    workdir: epath.PathLike,
    split: str = 'test',
    checkpoint: str = 'best',
    *,
    data_dir: str | None = None,
    idx_dir: str | None = None,
) -> dict[str, Any]:
    """Scores a checkpoint and writes `eval/SPLIT/` in the work folder.

    Args:
      workdir: of a run.
      split: `train`, `validation` or `test`, as the run's config defines them.
      checkpoint: `best`, `last` or a step.
      data_dir: where data are prepared, if not where the run had them.
      idx_dir: a folder of IDX files, likewise.

    Returns:
      What `metrics.json` holds.

    Raises:
      UserError: there is no such run or checkpoint, or the data are not the run's.
    """
    folder = epath.Path(workdir).expanduser()
    config = trained.read_config(folder)
    if data_dir is not None:
        config.data.data_dir = data_dir
    if idx_dir is not None:
        config.data.idx_dir = idx_dir
    configure_jax(config)
    checkpoints = Checkpoints(folder)
    step = checkpoints.find(checkpoint, log)
    dataset = load_dataset(config.data, log)
    provenance.check_data(dataset, folder)
    model = trained.restore(
        folder, config, step, dataset.class_names, dataset.image_shape
    )
    images, labels = dataset.split(config.data[f'{split}_split'])
    log_probabilities = model.log_probabilities(images)
    if not np.isfinite(log_probabilities).all():
        raise UserError(
            f'the checkpoint of step {step} gives probabilities that are not finite on '
            f'the {split} split; try another with --checkpoint'
        )
    labels = labels.astype(np.int64)
    metrics = {
        'split': split,
        'split_spec': config.data[f'{split}_split'],
        'checkpoint_step': step,
        'num_parameters': num_parameters(model.params),
        **classification_report(log_probabilities, labels, dataset.class_names),
    }
    _write(folder / workdir_lib.EVALUATION / split, metrics, labels, log_probabilities)
    return metrics


def _write(
    folder: epath.Path,
    metrics: dict[str, Any],
    labels: np.ndarray,
    log_probabilities: np.ndarray,
) -> None:
    """Writes the metrics and the predictions they were made of, and prints them."""
    buffer = io.BytesIO()
    np.savez(buffer, labels=labels, probabilities=np.exp(log_probabilities))
    workdir_lib.write_bytes(folder / 'predictions.npz', buffer.getvalue())
    workdir_lib.write_json(folder / 'metrics.json', metrics)
    log(per_class_table(metrics))
    log(
        f'{metrics["split"]} ({metrics["split_spec"]}, {metrics["num_examples"]:,} '
        f'examples), checkpoint of step {metrics["checkpoint_step"]}: '
        f'loss {metrics["loss"]:.4f}, accuracy {metrics["accuracy"]:.4f}, '
        f'expected calibration error {metrics["ece"]:.4f}'
    )
    log(f'metrics: {folder / "metrics.json"}')
    log(f'predictions: {folder / "predictions.npz"}')
