"""Whether the examples that score a model had a part in making it."""

from typing import Any

from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError

# In `provenance.json`: the run whose weights a run began with, and those whose
# probabilities it was to meet; of each, the splits behind it.
INIT_FROM, TEACHERS = 'init_from', 'teachers'
_LEARNED_FROM = 'learned_from'


def learned_from(folder: epath.Path) -> list[dict[str, Any]] | None:
    """The splits behind the weights of a run, and of all that it learned from.

    Returns:
      For each run `train_split`, `validation_split` and the data's `sha256`; None if
      a work folder does not say.
    """
    try:
        data = workdir_lib.read_json_object(folder / workdir_lib.CONFIG)['data']
        provenance = workdir_lib.read_json_object(folder / workdir_lib.PROVENANCE)
        splits = {key: data[key] for key in ('train_split', 'validation_split')}
        own = {**splits, 'sha256': provenance['data']['sha256']}
        known = [run for one in _origins(folder) for run in one[_LEARNED_FROM]]
        return [own, *known]
    except (UserError, KeyError, TypeError):
        return None


def read_origins(folder: epath.Path, key: str) -> list[dict[str, Any]]:
    """What `provenance.json` keeps of the runs that one learned from.

    Args:
      folder: of the run.
      key: `INIT_FROM` or `TEACHERS`.

    Raises:
      UserError: the file is missing or damaged.
    """
    path = folder / workdir_lib.PROVENANCE
    held = workdir_lib.read_json_object(path).get(key) or []
    origins = held if isinstance(held, list) else [held]
    if not all(isinstance(one, dict) and 'workdir' in one for one in origins):
        raise UserError(f'{path} is damaged: {key} does not name a work folder')
    return origins


def _origins(folder: epath.Path) -> list[dict[str, Any]]:
    return read_origins(folder, INIT_FROM) + read_origins(folder, TEACHERS)


def describe_origin(folder: epath.Path, step: int) -> dict[str, Any]:
    """What `provenance.json` keeps of a run that another learns from."""
    origin = {'workdir': str(folder), 'step': step}
    splits = learned_from(folder)
    return origin if splits is None else {**origin, _LEARNED_FROM: splits}


def selection(
    dataset: Dataset, spec: str, folder: epath.Path, checkpoint: str
) -> dict[str, Any]:
    """Whether anything was learned from a split, or chosen by it.

    Args:
      dataset: scored.
      spec: the split.
      folder: the run's.
      checkpoint: `best` if it was chosen, else what was named.

    Returns:
      How many examples are `shared_with_train` and `shared_with_validation`, of the
      run and all that it learned from; `unknown_origin`, where that is not known of
      one of these; and all of it in `words`.
    """
    data = workdir_lib.read_json_object(folder / workdir_lib.CONFIG)['data']
    origins = _origins(folder)
    known = [run for one in origins for run in one.get(_LEARNED_FROM, [])]
    here = [data, *(run for run in known if run['sha256'] == dataset.sha256)]
    unknown = [one['workdir'] for one in origins if not _is_known(one, dataset)]
    trained, chosen = (
        dataset.num_shared(spec, [run[f'{use}_split'] for run in here])
        for use in ('train', 'validation')
    )
    result = {
        'shared_with_train': trained,
        'shared_with_validation': chosen,
        'words': _words(here[0], trained, chosen, checkpoint),
    }
    if unknown:
        result['unknown_origin'] = ', '.join(unknown)
        result['words'] += (
            f' It learned from {result["unknown_origin"]}, of which it is not known '
            'what that was learned from.'
        )
    return result


def _is_known(origin: dict[str, Any], dataset: Dataset) -> bool:
    """Whether all that an origin learned from are splits of these data."""
    splits = origin.get(_LEARNED_FROM)
    return bool(splits) and all(run['sha256'] == dataset.sha256 for run in splits)


def _words(run: dict[str, Any], trained: int, chosen: int, checkpoint: str) -> str:
    if trained:
        return (
            f'Yes: the model was trained on {trained:,} of its images, so that its '
            'figures say little of new ones.'
        )
    if chosen and checkpoint == 'best':
        return (
            f'Yes: the checkpoint was chosen by its accuracy on {chosen:,} of these '
            'images, so that the figures are optimistic.'
        )
    if chosen:
        return (
            f'The checkpoint was named; but {chosen:,} of these images are of the '
            "split that the run's choices are made by."
        )
    return (
        f'No: it shares no image with {run["train_split"]}, which the model was '
        f'trained on, or with {run["validation_split"]}, which its checkpoint was '
        'chosen by.'
    )


def selects_on_test(data: ConfigDict, dataset: Dataset) -> str | None:
    """Says so where a run's choices are made by images of the test split.

    Args:
      data: `config.data` of the run.
      dataset: its data.
    """
    shared = dataset.num_shared(data.validation_split, [data.test_split])
    if not shared:
        return None
    return (
        f'note: validation ({data.validation_split}) shares {shared:,} images with '
        f'test ({data.test_split}): the test set chooses, so that figures at what was '
        'chosen are optimistic'
    )
