"""Starting from another run's parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.state import TrainState, with_variables

# The path of an array: collection, modules, name.
_Arrays = dict[tuple[str, ...], Any]


def find_origin(
    workdir: epath.PathLike, log: Callable[[str], None]
) -> tuple[Checkpoints, int]:
    """The checkpoints of another run, and the step of its best.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    folder = workdir_lib.locate(workdir)
    if not folder.is_dir():
        raise UserError(f'init_from: there is no work folder {folder}')
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints, checkpoints.find('best', log)
    except UserError as error:
        raise UserError(f'init_from: {error}') from error


def start_from(
    state: TrainState, workdir: epath.PathLike, log: Callable[[str], None]
) -> tuple[TrainState, int]:
    """Puts the parameters and running averages of another run into a new state.

    A layer is taken whole or not at all: where one of its arrays has another shape, or
    is on one side only, the layer stays as it was drawn.

    Args:
      state: newly drawn.
      workdir: the other run's; its best checkpoint is read.
      log: told which layers were taken, and which drawn fresh and why.

    Returns:
      The state, and the step of the checkpoint.

    Raises:
      UserError: there is no such checkpoint, it is damaged, or no layer fits.
    """
    folder = workdir_lib.locate(workdir)
    checkpoints, step = find_origin(workdir, log)
    there = flatten_dict(checkpoints.read_variables(step))
    drawn = {'params': state.params, 'batch_stats': state.batch_stats}
    here = flatten_dict(drawn)
    misfits = _misfits(here, there)
    fits = {_layer(path) for path in here} - misfits.keys()
    if not fits:
        raise UserError(
            f'init_from {folder}: no layer fits: {"; ".join(misfits.values())}'
        )
    log(f'init_from {folder}, step {step}: taken {", ".join(sorted(fits))}')
    for reason in misfits.values():
        log(f'init_from {folder}: drawn fresh {reason}')
    taken = {
        path: _like(there[path], array) if _layer(path) in fits else array
        for path, array in here.items()
    }
    variables: dict[str, PyTree] = {'batch_stats': {}, **unflatten_dict(taken)}
    return with_variables(state, variables), step


def _misfits(here: _Arrays, there: _Arrays) -> dict[str, str]:
    """The layers of the new model that cannot be taken, and why."""
    reasons: dict[str, str] = {}
    layers = {_layer(path) for path in here}
    for path in sorted({*here, *(p for p in there if _layer(p) in layers)}):
        new, old = _shape(here, path), _shape(there, path)
        if new != old:
            layer = _layer(path)
            reasons.setdefault(
                layer, f'{layer} ({path[-1]} is {old} there and {new} here)'
            )
    return reasons


def _layer(path: tuple[str, ...]) -> str:
    return '/'.join(path[1:-1]) or '(the model itself)'


def _shape(arrays: Mapping, path: tuple[str, ...]) -> str:
    return str(list(arrays[path].shape)) if path in arrays else 'absent'


def _like(values: np.ndarray, array: jax.Array) -> jax.Array:
    """`values` with the dtype and placement of `array`."""
    return jax.device_put(values.astype(array.dtype), array.sharding)
