"""Checkpoints: written by Orbax, sealed by a manifest, verified before they are used.

`checkpoints/STEP/` holds one checkpoint: the train state and the metrics so far, so
that a resumed run leaves `metrics.jsonl` as an uninterrupted one would. Its last file,
`manifest.sha256`, lists the SHA-256 of all the others in the format of `sha256sum`:
Orbax restores flipped bits without complaint, and a process may be killed at any
moment. A checkpoint whose files do not match its manifest is not used.

Of several processes that train together, the first alone writes any of this.
"""

import contextlib
import errno
import os
from collections.abc import Callable

import jax
from etils import epath
from jaxtyping import PyTree

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, one_line
from fmnist_jax.training import manifest
from fmnist_jax.training.checkpoint import UNFINISHED, CheckpointFiles
from fmnist_jax.training.record import Record

# Bytes of a checkpoint besides its arrays: what is known of each, and of the run.
_SPACE_BESIDE = 2**18


class Checkpoints:
    """The checkpoints of one work folder."""

    def __init__(self, workdir: epath.Path):
        self.folder = workdir_lib.absolute(workdir / workdir_lib.CHECKPOINTS)
        self._files = CheckpointFiles()

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
        self._write(path, state, record)
        keep = {*self.steps()[-keep_last:], record.best_step()}
        for old in self.steps():
            if old not in keep:
                # Without its manifest, a folder that is half removed is no checkpoint.
                (self.folder / str(old) / manifest.NAME).unlink(missing_ok=True)
                (self.folder / str(old)).rmtree()

    def _write(self, path: epath.Path, state: PyTree, record: Record) -> None:
        try:
            self._files.write(path, state, record)
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
                if UNFINISHED.fullmatch(path.name):
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
        return self._files.read_record(self.folder / str(step))

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
        state = self._files.read_state(self.folder / str(step), abstract_state)
        return state, self.read_record(step)

    def read_variables(self, step: int) -> dict[str, PyTree]:
        """`params` and `batch_stats` that a checkpoint of any model is scored by.

        NumPy arrays; the averages over the updates, where a run has them.

        Args:
          step: which; one that `latest` or `find` gave.
        """
        return self._files.read_variables(self.folder / str(step))


def _cannot_write(path: epath.Path, reason: str) -> UserError:
    return UserError(
        f'cannot write the checkpoint {path}: {reason}; those before it are kept. Make '
        'room and run the same command again to go on'
    )
