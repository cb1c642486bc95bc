"""One checkpoint as Orbax writes and reads it: the train state and the metrics so far.

Of several processes that train together, each reads, and the first alone writes.
"""

import dataclasses
import re
import threading
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from fmnist_jax.errors import UserError
from fmnist_jax.training.record import Record

# The parts of a train state that a model is called with.
_VARIABLES = ('params', 'batch_stats')

# What Orbax writes into before it renames it to the step.
UNFINISHED = re.compile(r'\d+\.orbax-checkpoint-tmp.*')

# Orbax's own threads signal each other by names that all of a process share: with two
# operations at once, one waits for what another has done, or writes too early.
_ORBAX_LOCK = threading.Lock()


class CheckpointFiles:
    """Writes and reads the files of checkpoints; whether they are whole, others know.

    See `checkpoint_folder.Checkpoints`.
    """

    def __init__(self):
        # Orbax would wait for the other processes.
        number = jax.process_index()
        options = ocp.options.MultiprocessingOptions(
            primary_host=number,
            active_processes={number},
            barrier_sync_key_prefix=f'process{number}',
        )
        handlers = {
            'state': ocp.StandardCheckpointHandler(multiprocessing_options=options),
            'record': ocp.JsonCheckpointHandler(multiprocessing_options=options),
        }
        self._orbax = ocp.Checkpointer(
            ocp.CompositeCheckpointHandler(
                composite_options=ocp.CompositeOptions(multiprocessing_options=options),
                **handlers,
            ),
            multiprocessing_options=options,
        )

    def write(self, path: epath.Path, state: PyTree, record: Record) -> None:
        """Writes a checkpoint.

        Args:
          path: of its folder, which is not there.
          state: of arrays on the host.
          record: the metrics so far.

        Raises:
          OSError, ValueError, RuntimeError: of a disk that is full, Orbax and
            TensorStore tell in several ways.
        """
        contents = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            record=ocp.args.JsonSave(dataclasses.asdict(record)),
        )
        with _ORBAX_LOCK:
            self._orbax.save(path, contents)

    def read_record(self, path: epath.Path) -> Record:
        """The metrics in a checkpoint."""
        wanted = ocp.args.Composite(record=ocp.args.JsonRestore())
        return Record(**self._restore(path, wanted).record)

    def read_state(self, path: epath.Path, abstract_state: PyTree) -> PyTree:
        """The state in a checkpoint, as NumPy arrays.

        Args:
          path: of the checkpoint.
          abstract_state: shapes and dtypes of what is wanted.

        Raises:
          UserError: it holds another model's state.
        """
        held = self._held(path)
        check_fit(path, held, abstract_state)
        # By name: earlier versions' states have not the empty parts of later ones.
        arrays = _by_name(self._read_arrays(path, held))
        return jax.tree_util.tree_map_with_path(
            lambda place, _: arrays[_name(place)], abstract_state
        )

    def read_variables(self, path: epath.Path) -> dict[str, PyTree]:
        """`params` and `batch_stats` that a checkpoint of any model is scored by.

        NumPy arrays; the averages over the updates, where a run has them.

        Args:
          path: of its folder.
        """
        state = self._read_arrays(path, self._held(path))
        # What validation scored: averages, if the run has them.
        scored = state.get('average') or state
        return {name: scored.get(name) or {} for name in _VARIABLES}

    def _read_arrays(self, path: epath.Path, abstract_state: PyTree) -> PyTree:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
            abstract_state,
        )
        contents = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        return jax.device_get(self._restore(path, contents).state)

    def _held(self, path: epath.Path) -> PyTree:
        """Shapes and dtypes of the state in a checkpoint."""
        with _ORBAX_LOCK:
            return self._orbax.metadata(path).item_metadata['state'].tree

    def _restore(self, path: epath.Path, wanted: ocp.args.Composite) -> Any:
        with _ORBAX_LOCK:
            return self._orbax.restore(path, wanted)


def check_fit(path: epath.Path, held: PyTree, wanted: PyTree) -> None:
    """Compares the arrays of a checkpoint with those that a config asks for.

    Args:
      path: the checkpoint's.
      held: arrays, or their shapes and dtypes, as in the checkpoint.
      wanted: as in the config's model.

    Raises:
      UserError: one is absent on a side, or has another shape or dtype.
    """
    there, here = _arrays(held), _arrays(wanted)
    if differing := [k for k in there | here if there.get(k) != here.get(k)]:
        name = differing[0]
        raise UserError(
            f'{path} does not fit the config: {name} is {there.get(name, "absent")} '
            f'there and {here.get(name, "absent")} here'
            + (f', and {len(differing) - 1} more differ' if differing[1:] else '')
        )


def _arrays(tree: PyTree) -> dict[str, str]:
    """The shape and dtype of each array, by its name."""
    return {
        name: f'{np.dtype(leaf.dtype)}{list(leaf.shape)}'
        for name, leaf in _by_name(tree).items()
    }


def _by_name(tree: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves}


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator='.')
