"""An ensemble: several trained runs in, scores of their mean probabilities out."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import views as views_lib
from fmnist_jax.reporting.origin import EnsembleOrigin
from fmnist_jax.training import provenance
from fmnist_jax.training.evaluation import scoring
from fmnist_jax.training.evaluation.evaluate import origin_of, write_results
from fmnist_jax.training.evaluation.members import (
    ENSEMBLE,
    check_alike,
    check_folder,
    check_names,
    joint_selection,
)
from fmnist_jax.training.evaluation.opened import OpenedRun, open_runs
from fmnist_jax.training.state import num_parameters
from fmnist_jax.training.trained import TrainedModel


def evaluate_ensemble(
    workdir: epath.PathLike,
    members: Sequence[epath.PathLike],
    split: str = 'test',
    checkpoint: str = 'best',
    *,
    views: str = views_lib.NONE,
    calibrate: bool = False,
    data_dir: str | None = None,
    idx_dir: str | None = None,
) -> dict[str, Any]:
    """Scores the mean of several models' probabilities, as `evaluate` scores one's.

    Args:
      workdir: where `ensemble.json` and `eval/SPLIT/` are written.
      members: work folders of runs, of the same data and splits.
      split: `train`, `validation` or `test`, as the runs' configs define them.
      checkpoint: of each run: `best`, `last` or a step.
      views: as of `evaluate`.
      calibrate: whether to fit a temperature, to the mean, on the validation split.
      data_dir: where data are prepared, if not where the first run had them.
      idx_dir: a folder of IDX files, likewise.

    Returns:
      What `metrics.json` holds: as of `evaluate`, with `members` for
      `checkpoint_step`. `num_parameters` is the sum.

    Raises:
      UserError: as of `evaluate`; the members are not of the same data; or the work
        folder holds something else.
    """
    question = scoring.Question(split, views, calibrate)
    folder = workdir_lib.locate(workdir)
    names = check_names(members)
    check_folder(folder, names)
    target = question.folder_in(folder)
    runs = open_runs(members, checkpoint, data_dir=data_dir, idx_dir=idx_dir)
    described = [provenance.read(run.folder) for run in runs]
    check_alike(runs, described)
    dataset = runs[0].load_data()
    for run in runs:
        scoring.check_calibration(question, dataset, run)
    models = [run.restore(dataset) for run in runs]
    scored, scores = scoring.score(runs, models, dataset, question)
    rows = _describe(runs, names, models)
    total = sum(row['num_parameters'] for row in rows)
    spec = runs[0].config.data[f'{split}_split']
    metrics = {
        'split': split,
        'split_spec': spec,
        'checkpoint': checkpoint,
        'members': rows,
        'num_parameters': total,
        'selection': joint_selection(runs, dataset, spec),
        **scores,
    }
    ensemble = {'members': rows, 'checkpoint': checkpoint, 'num_parameters': total}
    workdir_lib.write_json(folder / ENSEMBLE, ensemble)
    origin = EnsembleOrigin(
        run=workdir_lib.absolute(folder).name,
        members=[
            origin_of(*each, dataset) for each in zip(runs, described, strict=True)
        ],
    )
    write_results(target, metrics, scored, origin)
    return metrics


def _describe(
    runs: Sequence[OpenedRun], names: Sequence[str], models: Sequence[TrainedModel]
) -> list[dict[str, Any]]:
    """What `ensemble.json` says of each member."""
    return [
        {
            'workdir': name,
            'model': run.config.model.name,
            'checkpoint_step': run.step,
            'num_parameters': num_parameters(model.params),
        }
        for name, run, model in zip(names, runs, models, strict=True)
    ]
