"""Which runs can be members of an ensemble, and what is said of all of them."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training import provenance
from fmnist_jax.training.evaluation.opened import OpenedRun

ENSEMBLE = 'ensemble.json'
_ADVICE = 'choose another --workdir'
_SPLITS = tuple(f'{split}_split' for split in config_lib.SPLITS)


def check_names(members: Sequence[epath.PathLike]) -> list[str]:
    """The members as they were named.

    Raises:
      UserError: there are fewer than two, or one has no name, or is named twice.
    """
    if '' in members:
        raise UserError('--members has an empty name; give WORKDIR,WORKDIR,…')
    if len(members) < 2:
        raise UserError(
            f'--members names {len(members)} run; an ensemble has two or more: '
            'WORKDIR,WORKDIR,…'
        )
    seen: dict[str, str] = {}
    for name in map(str, members):
        place = str(workdir_lib.absolute(workdir_lib.locate(name)))
        if place in seen:
            raise UserError(f'--members names {name} twice; name each run once')
        seen[place] = name
    return list(seen.values())


def check_folder(folder: epath.Path, names: Sequence[str]) -> None:
    """Checks that nothing else is in an ensemble's work folder.

    Raises:
      UserError: it is that of a run, or of an ensemble of others than `names`.
    """
    if (folder / workdir_lib.CONFIG).exists():
        raise UserError(
            f'{folder} is the work folder of a run, whose results would be replaced; '
            f'{_ADVICE}'
        )
    path = folder / ENSEMBLE
    if not path.exists():
        return
    held = workdir_lib.read_json_object(path).get('members')
    if not isinstance(held, list) or not all(isinstance(row, dict) for row in held):
        raise UserError(f'{path} is damaged: it has no list of members; {_ADVICE}')
    before = [row.get('workdir') for row in held]
    if before != list(names):
        raise UserError(
            f'{folder} holds another ensemble, of {", ".join(map(str, before))}; '
            f'{_ADVICE}'
        )


def check_alike(runs: Sequence[OpenedRun], described: Sequence[dict]) -> None:
    """Compares what the runs say of their data, before these are loaded.

    Raises:
      UserError: they have other data, classes or splits.
    """
    first, *others = map(_data_of, runs, described)
    for run, own in zip(runs[1:], others, strict=True):
        for what, value in first.items():
            if own[what] != value:
                raise UserError(
                    f'{runs[0].folder} and {run.folder} differ in {what}: {value}, '
                    f'and {own[what]}; members of an ensemble share their data'
                )


def _data_of(run: OpenedRun, described: dict[str, Any]) -> dict[str, str]:
    """What must be the same of all members, by its name in words."""
    names = provenance.read_data_description(run.folder)['class_names']
    sha256 = described['data']['sha256']
    if not isinstance(sha256, dict):
        raise UserError(
            f'{run.folder / workdir_lib.PROVENANCE} is damaged: data.sha256 is no '
            'object'
        )
    return {
        'classes': ', '.join(map(str, names)),
        'the SHA-256 of their data': ', '.join(
            f'{name} {str(value)[:12]}' for name, value in sorted(sha256.items())
        ),
        **{f'data.{split}': run.config.data[split] for split in _SPLITS},
    }


def joint_selection(
    runs: Sequence[OpenedRun], dataset: Dataset, spec: str
) -> dict[str, Any]:
    """Whether any member has learned from a split, or was chosen by it.

    Returns:
      Of each member what `selection.selection` says of it, `members`; and as this
      does, of the one that shares most images with the split.
    """
    each = [run.selection(dataset, spec) for run in runs]
    keys = ('shared_with_train', 'shared_with_validation')
    worst = max(
        range(len(runs)),
        key=lambda i: (*(each[i][key] for key in keys), 'unknown_origin' in each[i]),
    )
    words = each[worst]['words']
    if any(one['words'] != words for one in each):
        words = f'Of {runs[worst].folder}: {words}'
    return {**each[worst], 'words': words, 'members': each}
