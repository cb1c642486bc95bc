"""Evaluation of a trained run: a checkpoint and a split in, metrics out."""

import io
from typing import Any

import numpy as np
from etils import epath

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.data import views as views_lib
from fmnist_jax.reporting.console import log, per_class_table
from fmnist_jax.reporting.gallery import Scored
from fmnist_jax.reporting.origin import EnsembleOrigin, Origin
from fmnist_jax.reporting.report import write_report
from fmnist_jax.training import provenance
from fmnist_jax.training.build import steps_of
from fmnist_jax.training.evaluation import scoring
from fmnist_jax.training.evaluation.opened import OpenedRun, open_runs
from fmnist_jax.training.state import num_parameters


def evaluate(
    workdir: epath.PathLike,
    split: str = 'test',
    checkpoint: str = 'best',
    *,
    views: str = views_lib.NONE,
    calibrate: bool = False,
    data_dir: str | None = None,
    idx_dir: str | None = None,
) -> dict[str, Any]:
    """Scores a checkpoint and writes `eval/SPLIT/` in the work folder.

    Args:
      workdir: of a run.
      split: `train`, `validation` or `test`, as the run's config defines them.
      checkpoint: `best`, `last` or a step.
      views: `none`, or of what the mean is taken for each image, such as `flip`; then
        the folder is `eval/SPLIT-VIEWS/`.
      calibrate: whether to fit a temperature on the validation split.
      data_dir: where data are prepared, if not where the run had them.
      idx_dir: a folder of IDX files, likewise.

    Returns:
      What `metrics.json` holds.

    Raises:
      UserError: there is no such run or checkpoint, the data are not the run's, or
        validation cannot calibrate what is said of the split.
    """
    question = scoring.Question(split, views, calibrate)
    [run] = open_runs([workdir], checkpoint, data_dir=data_dir, idx_dir=idx_dir)
    target = question.folder_in(run.folder)
    described = provenance.read(run.folder)
    dataset = run.load_data()
    scoring.check_calibration(question, dataset, run)
    model = run.restore(dataset)
    scored, scores = scoring.score([run], [model], dataset, question)
    spec = run.config.data[f'{split}_split']
    metrics = {
        'split': split,
        'split_spec': spec,
        'checkpoint': checkpoint,
        'checkpoint_step': run.step,
        'num_parameters': num_parameters(model.params),
        'selection': run.selection(dataset, spec),
        **scores,
    }
    write_results(target, metrics, scored, origin_of(run, described, dataset))
    return metrics


def origin_of(run: OpenedRun, described: dict[str, Any], dataset: Dataset) -> Origin:
    """What a report tells of a run.

    Args:
      run: that is evaluated.
      described: what its `provenance.json` holds.
      dataset: of it.
    """
    return Origin(
        run=run.name,
        config=config_lib.flatten(config_lib.to_dict(run.config)),
        provenance=described,
        lines=run.metrics_lines(),
        steps_per_epoch=steps_of(run.config, dataset),
    )


def write_results(
    folder: epath.Path,
    metrics: dict[str, Any],
    scored: Scored,
    origin: Origin | EnsembleOrigin,
) -> None:
    """Writes the predictions, the metrics and the report made of them; prints them.

    Args:
      folder: `eval/SPLIT/`.
      metrics: what `metrics.json` is to hold.
      scored: the split.
      origin: of the figures.
    """
    buffer = io.BytesIO()
    np.savez(
        buffer, labels=scored.labels, probabilities=np.exp(scored.log_probabilities)
    )
    workdir_lib.write_bytes(folder / 'predictions.npz', buffer.getvalue())
    workdir_lib.write_json(folder / 'metrics.json', metrics)
    log(per_class_table(metrics))
    log(_summary(metrics))
    if 'calibration' in metrics:
        log(_calibration(metrics['calibration']))
    log(f'metrics: {folder / "metrics.json"}')
    log(f'predictions: {folder / "predictions.npz"}')
    write_report(folder, metrics, scored, origin)
    log(f'report: {folder / "report.html"}')


def _summary(metrics: dict[str, Any]) -> str:
    """The figures, and what they are of, in one line."""
    of = f'checkpoint of step {metrics.get("checkpoint_step")}'
    if 'members' in metrics:
        of = f'mean of {len(metrics["members"])} models'
    seen = f', views {metrics["views"]}' if 'views' in metrics else ''
    return (
        f'{metrics["split"]} ({metrics["split_spec"]}, {metrics["num_examples"]:,} '
        f'examples), {of}{seen}: '
        f'loss {metrics["loss"]:.4f}, accuracy {metrics["accuracy"]:.4f}, '
        f'expected calibration error {metrics["ece"]:.4f}'
    )


def _calibration(calibration: dict[str, Any]) -> str:
    """Likewise, of temperature scaling."""
    return (
        f'at temperature {calibration["temperature"]:.4f}, fitted on validation '
        f'({calibration["split_spec"]}, {calibration["num_examples"]:,} examples): '
        f'loss {calibration["nll"]:.4f}, '
        f'expected calibration error {calibration["ece"]:.4f}'
    )
