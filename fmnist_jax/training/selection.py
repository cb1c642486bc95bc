"""Whether the examples that score a model had a part in making it."""

from typing import Any

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training.experiment import Experiment

# In `init_from` of `provenance.json`: the splits behind the weights a run began with.
_LEARNED_FROM = 'learned_from'


def learned_from(folder: epath.Path) -> list[dict[str, Any]] | None:
    """The splits behind the weights of a run, and of those that it started from.

    Returns:
      For each run `train_split`, `validation_split` and the data's `sha256`; None if
      a work folder does not say.
    """
    try:
        data = workdir_lib.read_json_object(folder / workdir_lib.CONFIG)['data']
        provenance = workdir_lib.read_json_object(folder / workdir_lib.PROVENANCE)
        splits = {key: data[key] for key in ('train_split', 'validation_split')}
        own = {**splits, 'sha256': provenance['data']['sha256']}
        origin = provenance.get('init_from')
        return [own] if origin is None else [own, *origin[_LEARNED_FROM]]
    except (UserError, KeyError, TypeError):
        return None


def describe_origin(folder: epath.Path, step: int) -> dict[str, Any]:
    """What `provenance.json` keeps of the run that another starts from."""
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
      run and those that it started from; `unknown_origin`, where that is not known of
      one that it started from; and all of it in `words`.
    """
    provenance = workdir_lib.read_json_object(folder / workdir_lib.PROVENANCE)
    origin, known = provenance.get('init_from'), learned_from(folder)
    if known is None:
        data = workdir_lib.read_json_object(folder / workdir_lib.CONFIG)['data']
        known = [{**data, 'sha256': dataset.sha256}]
        unknown = origin['workdir'] if origin else str(folder)
    else:
        others = [run for run in known if run['sha256'] != dataset.sha256]
        unknown = origin['workdir'] if others else None
    here = [run for run in known if run['sha256'] == dataset.sha256]
    trained, chosen = (
        dataset.num_shared(spec, [run[f'{use}_split'] for run in here])
        for use in ('train', 'validation')
    )
    result = {
        'shared_with_train': trained,
        'shared_with_validation': chosen,
        'words': _words(here[0], trained, chosen, checkpoint),
    }
    if unknown is not None:
        result['unknown_origin'] = unknown
        result['words'] += (
            f' It started from the weights of {unknown}, of which it is not known what '
            'they were learned from.'
        )
    return result


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


def selects_on_test(experiment: Experiment) -> str | None:
    """Says so where a run's choices are made by images of the test split."""
    data, dataset = experiment.config.data, experiment.dataset
    shared = dataset.num_shared(data.validation_split, [data.test_split])
    if not shared:
        return None
    return (
        f'note: validation ({data.validation_split}) shares {shared:,} images with '
        f'test ({data.test_split}): the test set chooses, so that figures at what was '
        'chosen are optimistic'
    )
