"""What a run left for TensorBoard, read by the reader of TensorBoard's own server."""

from pathlib import Path

from tensorboard.backend.event_processing.plugin_event_accumulator import (
    TENSORS,
    EventAccumulator,
)
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo
from tensorboard.util import tensor_util

PICTURE = 'confusion_matrix/validation'


def read(workdir: Path) -> EventAccumulator:
    """All events of a run, none left out by sampling."""
    path = str(workdir / 'tensorboard')
    return EventAccumulator(path, size_guidance={TENSORS: 0}).Reload()


def points(events: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of each scalar."""
    return {
        tag: [
            (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
            for event in events.Tensors(tag)
        ]
        for tag in events.PluginTagToContent('scalars')
    }


def picture(events: EventAccumulator) -> tuple[int, int, int, bytes]:
    """The step of the one confusion matrix, its width and height, and the PNG."""
    (event,) = events.Tensors(PICTURE)
    width, height, png = event.tensor_proto.string_val
    return event.step, int(width), int(height), png


def session(events: EventAccumulator) -> SessionStartInfo:
    """What the comparison view knows of a run."""
    content = events.PluginTagToContent('hparams')
    return metadata.parse_session_start_info_plugin_data(
        content[metadata.SESSION_START_INFO_TAG]
    )


def hyperparameters(events: EventAccumulator) -> dict[str, float | str | bool]:
    """What the comparison view shows of a run's config."""
    return {
        name: getattr(value, value.WhichOneof('kind'))
        for name, value in session(events).hparams.items()
    }


def same_in_every_run(workdir: Path) -> tuple:
    """All but wall times and speeds."""
    events = read(workdir)
    scalars = points(events)
    scalars['images_per_second'] = [s for s, _ in scalars['images_per_second']]
    return scalars, picture(events), hyperparameters(events)
