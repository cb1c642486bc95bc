"""Trained models whose probabilities another is to meet: knowledge distillation."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from fmnist_jax.training.selection import TEACHERS, describe_origin
from fmnist_jax.training.trained import TrainedModel


def load_teachers(
    folders: Sequence[epath.PathLike], dataset: Dataset, log: Callable[[str], None]
) -> tuple[TrainedModel, ...]:
    """The best checkpoint of each of these runs.

    Args:
      folders: work folders.
      dataset: that the student learns from.
      log: told in one line what happens.

    Raises:
      UserError: there is no such run or checkpoint, it is damaged, or it is for other
        images or classes.
    """
    return tuple(_load(folder, dataset, log) for folder in folders)


def _load(
    workdir: epath.PathLike, dataset: Dataset, log: Callable[[str], None]
) -> TrainedModel:
    folder = workdir_lib.locate(workdir)
    if not folder.is_dir():
        raise UserError(f'distillation.teachers: there is no work folder {folder}')
    try:
        teacher = trained.load(folder, 'best', log)
    except UserError as error:
        raise UserError(f'distillation.teachers: {error}') from error
    for what, there, here in (
        ('classes', teacher.class_names, dataset.class_names),
        ('images', teacher.image_shape, dataset.image_shape),
    ):
        if there != here:
            raise UserError(
                f'distillation.teachers: {folder} was trained for other {what} than '
                f'these data have: {_in_words(there)}, not {_in_words(here)}'
            )
    log(f'teacher: {folder}, step {teacher.step}')
    return teacher


def _in_words(values: Sequence[Any]) -> str:
    return ', '.join(map(str, values))


def describe_teachers(
    folders: Sequence[epath.PathLike], teachers: Sequence[TrainedModel]
) -> list[dict[str, Any]]:
    """What `provenance.json` keeps of each teacher."""
    return [
        {
            **describe_origin(workdir_lib.locate(folder), teacher.step),
            'sha256': _sha256(teacher),
        }
        for folder, teacher in zip(folders, teachers, strict=True)
    ]


def check_teachers(
    folder: epath.Path, folders: Sequence[epath.PathLike], now: Sequence[TrainedModel]
) -> None:
    """Compares the teachers with those that the run in a work folder began with.

    Args:
      folder: of the run.
      folders: of the teachers.
      now: as they are.

    Raises:
      UserError: one is another than it was.
    """
    if not now:
        return
    provenance = workdir_lib.read_json_object(folder / workdir_lib.PROVENANCE)
    before = [one['sha256'] for one in provenance.get(TEACHERS, [])]
    for path, teacher, old in zip(folders, now, before, strict=False):
        if _sha256(teacher) != old:
            raise UserError(
                f'{folder} was begun with another teacher: the best checkpoint of '
                f'{path} has changed. Choose another --workdir, or the same teacher'
            )


def _sha256(teacher: TrainedModel) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(teacher.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()
