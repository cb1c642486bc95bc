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
from fmnist_jax.training.selection import TEACHERS, describe_origin, read_origins
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
        hint = ": several are named as ('one', 'two')" if ',' in str(workdir) else ''
        raise UserError(
            f'distillation.teachers: there is no work folder {folder}{hint}'
        )
    try:
        # JAX is configured for the student, whose devices the teacher is asked on.
        config = trained.read_config(folder, log)
        _check_precision(folder, config.precision)
        teacher = trained.load_configured(folder, config, 'best', log)
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


def _check_precision(folder: epath.Path, precision: str) -> None:
    if precision == 'float64' and not jax.config.jax_enable_x64:
        raise UserError(
            f'{folder} was trained in float64, for which JAX has a switch for the '
            'whole process; take another, or set --config.precision=float64'
        )


def _in_words(values: Sequence[Any]) -> str:
    return ', '.join(map(str, values))


def describe_teachers(
    folders: Sequence[epath.PathLike], teachers: Sequence[TrainedModel]
) -> list[dict[str, Any]]:
    """What `provenance.json` keeps of each teacher."""
    return [
        {**describe_origin(workdir_lib.locate(folder), teacher.step), 'sha256': digest}
        for folder, teacher, digest in zip(
            folders, teachers, digests(teachers), strict=True
        )
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
      UserError: one is another than it was, or provenance does not say what it was.
    """
    if not now:
        return
    before = [one.get('sha256') for one in read_origins(folder, TEACHERS)]
    if len(before) != len(now):
        raise UserError(
            f'{folder / workdir_lib.PROVENANCE} is damaged: it does not name the '
            f'{len(now)} teachers of the run; choose another --workdir'
        )
    for path, digest, old in zip(folders, digests(now), before, strict=True):
        if digest != old:
            raise UserError(
                f'{folder} was begun with another teacher: the best checkpoint of '
                f'{path} has changed. Choose another --workdir, or the same teacher'
            )


def digests(teachers: Sequence[TrainedModel]) -> list[str]:
    """The SHA-256 of each teacher's parameters and running averages."""
    return [_sha256(teacher) for teacher in teachers]


def _sha256(teacher: TrainedModel) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(teacher.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()
