"""Checkpoints: written by Orbax, sealed by a manifest, verified before they are used.

`checkpoints/STEP/` holds one checkpoint: the train state and the metrics so far, so
that a resumed run leaves `metrics.jsonl` as an uninterrupted one would. Its last file,
`manifest.sha256`, lists the SHA-256 of all the others in the format of `sha256sum`:
Orbax restores flipped bits without complaint, and a process may be killed at any
moment. A checkpoint whose files do not match its manifest is not used.

Of several processes that train together, the first alone writes any of this.
"""

import contextlib
import dataclasses
import errno
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, one_line
from fmnist_jax.training import manifest
from fmnist_jax.training.record import Record

# The parts of a train state that a model is called with.
_VARIABLES = ('params', 'batch_stats')
# What Orbax writes into before it renames it to the step.
_TEMPORARY = re.compile(r'\d+\.orbax-checkpoint-tmp.*')

# Bytes of a checkpoint besides its arrays: what is known of each, and of the run.
_SPACE_BESIDE = 2**18

# Orbax's own threads signal each other by names that all of a process share: with two
# operations at once, one waits for what another has done, or writes too early.
_ORBAX_LOCK = threading.Lock()


class Checkpoints:
    """The checkpoints of one work folder."""

    def __init__(self, workdir: epath.Path):
        self.folder = workdir_lib.absolute(workdir / workdir_lib.CHECKPOINTS)
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

    def steps(self) -> list[int]:
        """Steps that have a folder, in order, whole or not."""
        if not self.folder.exists():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdigit())

    def save(self, state: PyTree, record: Record, keep_last: int) -> None:
        """Writes a checkpoint; then drops those that are neither late nor the best.

        Args:
          state: with a field `step`; the same on all devices.
          record: the metrics so far.
          keep_last: how many of the latest to keep.

        Raises:
          UserError: it cannot be written; those before it are as they were.
        """
        state = jax.device_get(state)
        step = int(state.step)
        path = self.folder / str(step)
        if path.exists():
            path.rmtree()
        needed = _SPACE_BESIDE + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = workdir_lib.free_bytes(self.folder)
        # Orbax does not take a full disk calmly.
        if free is not None and free < needed:
            reason = f'it may need {needed:,} bytes, and {free:,} are free on the disk'
            raise _cannot_write(path, reason)
        contents = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            record=ocp.args.JsonSave(dataclasses.asdict(record)),
        )
        self._write(path, contents)
        keep = {*self.steps()[-keep_last:], record.best_step()}
        for old in self.steps():
            if old not in keep:
                # Without its manifest, a folder that is half removed is no checkpoint.
                (self.folder / str(old) / manifest.NAME).unlink(missing_ok=True)
                (self.folder / str(old)).rmtree()

    def _write(self, path: epath.Path, contents: ocp.args.Composite) -> None:
        try:
            with _ORBAX_LOCK:
                self._orbax.save(path, contents)
            manifest.write(path)
        # Of a disk that is full, Orbax and TensorStore tell in several ways.
        except (UserError, OSError, ValueError, RuntimeError) as error:
            self._remove_unfinished(path)
            full = os.strerror(errno.ENOSPC)
            expected = isinstance(error, UserError | OSError)
            if not expected and full not in str(error):
                raise
            reason = full if full in str(error) else one_line(error)
            raise _cannot_write(path, reason) from error

    def _remove_unfinished(self, path: epath.Path) -> None:
        # What cannot be removed either is ignored by the next run, and removed then.
        with contextlib.suppress(Exception):
            self._remove_temporary()
            if path.exists():
                path.rmtree()

    def is_whole(self, step: int) -> bool:
        """Whether every byte of a checkpoint is as it was written."""
        return manifest.matches(self.folder / str(step))

    def clean_up(self) -> None:
        """Removes checkpoints that are not whole, so that they do not count as kept.

        They were damaged, or a killed process left them half-written or half-removed.
        """
        self._remove_temporary()
        for step in self.steps():
            if not self.is_whole(step):
                (self.folder / str(step)).rmtree()

    def _remove_temporary(self) -> None:
        """Removes what Orbax did not finish."""
        if self.folder.exists():
            for path in self.folder.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    path.rmtree()

    def latest(self, log: Callable[[str], None]) -> int | None:
        """The step of the latest whole checkpoint; None if there never was one.

        Args:
          log: told of those that are not whole.

        Raises:
          UserError: all are damaged.
        """
        damaged = False
        for step in reversed(self.steps()):
            if self.is_whole(step):
                return step
            if (self.folder / str(step) / manifest.NAME).exists():
                damaged = True
                problem = 'is damaged (its files do not match its manifest)'
            else:
                problem = 'was not finished'
            log(
                f'checkpoint {self.folder / str(step)} {problem}; trying the one before'
            )
        if damaged:
            raise UserError(
                f'there is no whole checkpoint in {self.folder}: restore one from a '
                'backup, or remove the work folder to train anew'
            )
        return None

    def find(self, which: str, log: Callable[[str], None]) -> int:
        """The step of the checkpoint called `best`, `last` or by its step.

        If the best checkpoint is damaged, `best` is the best of the whole ones, and
        `log` is told.

        Raises:
          UserError: there is no such checkpoint, or it is damaged.
        """
        last = self.latest(log)
        if last is None:
            raise UserError(f'there is no whole checkpoint in {self.folder}')
        if which == 'last':
            return last
        if which == 'best':
            record = self.read_record(last)
            best = record.best_step([s for s in self.steps() if self.is_whole(s)])
            if best is not None and best != record.best_step():
                log(
                    f'the best checkpoint, {self.folder / str(record.best_step())}, is '
                    f'not whole; using the best of the others, {best}'
                )
            if best is None:
                raise UserError(
                    f'{self.folder} holds no checkpoint from the end of an epoch yet, '
                    'so none is the best; train on, or name another'
                )
            step = best
        elif which.isdigit():
            step = int(which)
        else:
            raise UserError(f'--checkpoint must be best, last or a step, not {which!r}')
        if step not in self.steps():
            steps = ', '.join(map(str, self.steps()))
            raise UserError(
                f'no checkpoint {step} in {self.folder}; there are: {steps}'
            )
        if not self.is_whole(step):
            raise UserError(
                f'checkpoint {self.folder / str(step)} is damaged (its files do not '
                'match its manifest); use another with --checkpoint=last or a step'
            )
        return step

    def read_record(self, step: int) -> Record:
        """The metrics in a checkpoint."""
        wanted = ocp.args.Composite(record=ocp.args.JsonRestore())
        return Record(**self._restore(self.folder / str(step), wanted).record)

    def restore(self, step: int, abstract_state: PyTree) -> tuple[PyTree, Record]:
        """Reads a checkpoint that `latest` or `find` gave.

        Args:
          step: which.
          abstract_state: shapes and dtypes of what it holds.

        Returns:
          The state, as NumPy arrays, and the record.

        Raises:
          UserError: it holds another model's state.
        """
        path = self.folder / str(step)
        held = self._held(path)
        check_fit(path, held, abstract_state)
        # By name: earlier versions' states have not the empty parts of later ones.
        arrays = _by_name(self._read_state(path, held))
        state = jax.tree_util.tree_map_with_path(
            lambda place, _: arrays[_name(place)], abstract_state
        )
        return state, self.read_record(step)

    def read_variables(self, step: int) -> dict[str, PyTree]:
        """`params` and `batch_stats` that a checkpoint of any model is scored by.

        NumPy arrays; the averages over the updates, where a run has them.

        Args:
          step: which; one that `latest` or `find` gave.
        """
        path = self.folder / str(step)
        state = self._read_state(path, self._held(path))
        # What validation scored: averages, if the run has them.
        scored = state.get('average') or state
        return {name: scored.get(name) or {} for name in _VARIABLES}

    def _read_state(self, path: epath.Path, abstract_state: PyTree) -> PyTree:
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


def _cannot_write(path: epath.Path, reason: str) -> UserError:
    return UserError(
        f'cannot write the checkpoint {path}: {reason}; those before it are kept. Make '
        'room and run the same command again to go on'
    )


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
