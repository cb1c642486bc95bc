"""What TensorBoard shows of a run, written without TensorFlow.

A run has one event file, written whole after each epoch from the lines of
`metrics.jsonl`, so that a resumed run leaves the points of an uninterrupted one. It is
written in place, not by a rename: TensorBoard keeps an event file open and reads on
where it ended, and would not notice another in its place. (Nor is there a file for each
epoch: TensorBoard keeps them all open, and leaves out whatever is beyond the system's
limit on open files.) Where a process is killed as it writes, the resumed run writes it
again.
"""

import hashlib
import io
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int
from ml_collections import ConfigDict
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib

# TensorBoard reads whatever has `tfevents` in its name.
_NAME = 'events.out.tfevents'
# Matplotlib's settings are the process's; runs of a sweep may end in several threads.
_DRAWING = threading.Lock()
# What both splits have, with a tag for each, and what is of training alone.
_OF_BOTH_SPLITS = ('loss', 'accuracy')
_OF_TRAINING = ('learning_rate', 'gradient_norm', 'images_per_second')


class EventFile:
    """The event file of one work folder."""

    def __init__(
        self, workdir: epath.Path, config: ConfigDict, class_names: tuple[str, ...]
    ):
        self._path = workdir / workdir_lib.TENSORBOARD / _NAME
        self._hparams = hyperparameters(config)
        # What the comparison calls the run. It takes runs of one name for one.
        digest = hashlib.sha256(repr(self._hparams).encode()).hexdigest()[:6]
        self._name = f'{workdir_lib.absolute(workdir).name} {digest}'
        self._class_names = class_names
        self._start: float | None = None

    def write(
        self,
        lines: Sequence[Mapping[str, Any]],
        matrix: Int[np.ndarray, 'classes classes'] | None = None,
    ) -> None:
        """Writes all there is to show; nothing is left of what was there before.

        Args:
          lines: of `metrics.jsonl`.
          matrix: the confusion matrix of validation, at the end of the run.
        """
        if self._start is None:
            # Wall times count seconds of training from here: the same whenever the
            # file is written again, and without pauses.
            self._start = time.time() - sum(line.get('seconds', 0) for line in lines)
        content = b''.join(self._records(lines, matrix))
        workdir_lib.write_in_place(self._path, content)

    def _records(
        self,
        lines: Sequence[Mapping[str, Any]],
        matrix: Int[np.ndarray, 'classes classes'] | None,
    ) -> Iterator[bytes]:
        now = self._start
        yield _record(now, file_version='brain.Event:2')
        hparams = hparams_pb(self._hparams, self._name, start_time_secs=now)
        yield _record(now, summary=hparams)
        for line in lines:
            now += line.get('seconds', 0)
            yield _record(now, step=line['step'], summary=_scalars(line))
        if matrix is not None:
            picture = _picture(matrix, self._class_names)
            yield _record(now, step=lines[-1]['step'], summary=picture)


def hyperparameters(config: ConfigDict) -> dict[str, float | int | bool | str]:
    """The fields that decide the result, as TensorBoard can compare them.

    Numbers and text stay as they are; None, tuples and infinity become text.
    """
    fields = config_lib.flatten(config_lib.to_dict(config))
    return {
        name: value if _is_comparable(value) else str(value)
        for name, value in fields.items()
        if config_lib.decides_result(name)
    }


def _is_comparable(value: Any) -> bool:
    is_number = isinstance(value, int | float)
    return isinstance(value, str) or (is_number and math.isfinite(value))


def _record(wall_time: float, **fields: Any) -> bytes:
    """An event, framed as event files have it."""
    buffer = io.BytesIO()
    event = Event(wall_time=wall_time, **fields)
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _scalars(line: Mapping[str, Any]) -> Summary:
    """The figures of a line of metrics."""
    tags = {f'{key}/{line["split"]}': key for key in _OF_BOTH_SPLITS}
    tags |= {key: key for key in _OF_TRAINING if key in line}
    return Summary(
        value=[
            Summary.Value(tag=tag, simple_value=line[key]) for tag, key in tags.items()
        ]
    )


def _picture(
    matrix: Int[np.ndarray, 'classes classes'], class_names: tuple[str, ...]
) -> Summary:
    """The confusion matrix as an image."""
    # Half a second with the drawing, so at the end of a run only.
    from fmnist_jax.reporting.figures import confusion, style  # noqa: PLC0415

    with _DRAWING:
        figure = confusion.confusion_matrix_figure(matrix, class_names)
        png = style.to_png(figure, dpi=100)
    width, height = Image.open(io.BytesIO(png)).size
    image = Summary.Image(width=width, height=height, encoded_image_string=png)
    return Summary(
        value=[Summary.Value(tag='confusion_matrix/validation', image=image)]
    )
