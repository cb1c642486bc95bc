"""Prediction: a trained model and image files in, labels and probabilities out."""

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from etils import epath
from jaxtyping import Float, UInt8
from tqdm import tqdm

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import image_files, image_paths
from fmnist_jax.data.image_preparation import MODES, Invert, prepare
from fmnist_jax.errors import UnreadableFilesError, UserError
from fmnist_jax.reporting import prediction_figure
from fmnist_jax.reporting.predictions import Prediction, to_json, to_table
from fmnist_jax.reporting.text import printable


@runtime_checkable
class Model(Protocol):
    """What prediction wants of a model, from a run's work folder or a file.

    Attributes:
      class_names: one a label.
      image_shape: height, width, channels.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]

    def probabilities(
        self, images: UInt8[np.ndarray, 'n h w c']
    ) -> Float[np.ndarray, 'n classes']:
        """What the model says of images."""


def predict(
    arguments: Sequence[str],
    workdir: epath.PathLike | None = None,
    checkpoint: str | None = None,
    *,
    exported: epath.PathLike | None = None,
    invert: Invert = 'auto',
    as_json: bool = False,
    figure: epath.PathLike | None = None,
) -> None:
    """Classifies image files and prints the result.

    Args:
      arguments: files, folders and patterns; see `image_paths.find`.
      workdir: of a run; or else `exported`.
      checkpoint: of the run: `best`, which is the default, `last` or a step.
      exported: a model's file.
      invert: see `prepare`.
      as_json: print JSON, and nothing else, to standard output instead of a table.
      figure: a PNG, SVG or PDF file to draw, if any.

    Raises:
      UnreadableFilesError: after all is done, if some files could not be read.
      UserError: the model cannot be used, or the figure cannot be written.
    """
    found = image_paths.find(arguments)
    if figure is not None:
        figure = prediction_figure.check(figure, (file for file, _ in found))
    model = _load(workdir, checkpoint, exported)
    predictions = classify(model, found, invert)
    _print(predictions, model.class_names, as_json)
    if figure is not None:
        _draw(predictions, model.class_names, figure)
    failed = [p.file for p in predictions if p.error is not None]
    if failed:
        raise UnreadableFilesError(
            f'{len(failed)} of {len(predictions)} files could not be read, the first '
            f'of them {printable(failed[0])}'
        )


def classify(
    model: Model,
    found: Sequence[tuple[str, str | None]],
    invert: Invert = 'auto',
) -> list[Prediction]:
    """What a model says of image files; they are read one at a time.

    Args:
      model: for images of 1 or 3 channels.
      found: as `image_paths.find` gives it.
      invert: see `prepare`.

    Returns:
      One for each file, in their order.

    Raises:
      UserError: the model wants other channels, or its probabilities are not finite.
    """
    if model.image_shape[-1] not in MODES:
        raise UserError(
            f'the model takes images of {model.image_shape[-1]} channels; image files '
            'are made into 1 (grey) or 3 (red, green, blue)'
        )
    # A bar on a terminal only.
    files = tqdm(found, 'reading', unit='file', leave=False, disable=None)
    read = [_read(*pair, model.image_shape, invert) for pair in files]
    rows = _probabilities(model, [image for image, _ in read if image is not None])
    return [
        Prediction(file, error, image, None if image is None else next(rows))
        for (file, _), (image, error) in zip(found, read, strict=True)
    ]


def _probabilities(
    model: Model, images: Sequence[UInt8[np.ndarray, 'h w c']]
) -> Iterator[Float[np.ndarray, ' classes']]:
    if not images:
        return iter(())
    probabilities = model.probabilities(np.stack(images))
    if not np.isfinite(probabilities).all():
        raise UserError(
            'the model gives probabilities that are not finite; try another checkpoint'
        )
    return iter(probabilities)


def _read(
    file: str, problem: str | None, shape: tuple[int, int, int], invert: Invert
) -> tuple[UInt8[np.ndarray, 'h w c'] | None, str | None]:
    """An image, or why there is none."""
    if problem is not None:
        return None, problem
    try:
        return prepare(image_files.read(file), shape, invert), None
    except image_files.ImageFileError as error:
        return None, str(error)


def _load(
    workdir: epath.PathLike | None,
    checkpoint: str | None,
    exported: epath.PathLike | None,
) -> Model:
    if (workdir is None) == (exported is None):
        raise UserError('give either --workdir (a run) or --model (an exported model)')
    if exported is not None:
        if checkpoint is not None:
            raise UserError('--checkpoint goes with --workdir, not with --model')
        # Neither takes the time to import what the other needs.
        from fmnist_jax.training.exporting import exported as exported_lib  # noqa: PLC0415

        return exported_lib.load(exported)
    from fmnist_jax.training import trained  # noqa: PLC0415

    folder = workdir_lib.locate(workdir)
    return trained.load(folder, checkpoint or 'best', _note)


def _note(message: str) -> None:
    """Says what is no result."""
    print(message, file=sys.stderr, flush=True)


def _print(
    predictions: Sequence[Prediction], class_names: Sequence[str], as_json: bool
) -> None:
    if as_json:
        print(to_json(predictions, class_names), flush=True)
    elif any(p.error is None for p in predictions):
        print(to_table(predictions, class_names), flush=True)
    for prediction in predictions:
        if prediction.error is not None:
            _note(f'{printable(prediction.file)}: {printable(prediction.error)}')


def _draw(
    predictions: Sequence[Prediction], class_names: Sequence[str], path: epath.Path
) -> None:
    if all(p.error is not None for p in predictions):
        _note('no figure: there is no image to draw')
        return
    prediction_figure.write(predictions, class_names, path)
    _note(f'figure: {path}')
