"""A trained model read from one file, wherever it comes from.

It needs none of the run, nor what the run was made with: `export` wrote it.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath
from jax import export as jax_export
from jax.extend.mlir.dialects import stablehlo
from jaxtyping import Array, Float, UInt8

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data.batches import padded_order
from fmnist_jax.errors import UserError
from fmnist_jax.training.exporting import sealed


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A model read from one file; used as a `trained.TrainedModel` is.

    Attributes:
      step: the checkpoint's, completed updates.
      class_names: one a label.
      image_shape: height, width, channels.
      batch_size: images a call, at most; a device's share in the run's evaluation.
      call: images, uint8 [b, height, width, channels], to probabilities, float32
        [b, classes].
    """

    step: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    batch_size: int
    call: Callable[[Any], Array]

    def probabilities(
        self, images: UInt8[np.ndarray, 'n h w c']
    ) -> Float[np.ndarray, 'n classes']:
        """What the model says of images, on JAX's first device."""
        count = len(images)
        # Compiled once: the last batch is filled up.
        order = padded_order(count, max(1, min(count, self.batch_size)))
        results = [np.asarray(self.call(images[indices])) for indices in order]
        empty = np.zeros((0, len(self.class_names)), np.float32)
        return np.concatenate([empty, *results])[:count]


def load(path: epath.PathLike) -> ExportedModel:
    """Reads what `export.export` wrote.

    Raises:
      UserError: there is no such file, it is damaged or another kind of file, or
        this JAX is too old for it.
    """
    path = workdir_lib.locate(path)
    program, about = sealed.read(path)
    try:
        exported = jax_export.deserialize(bytearray(program))
        _check_version(exported.mlir_module_serialized)
        # Not read before it is first called, otherwise.
        exported.mlir_module()
    except Exception as error:
        raise UserError(
            f'{path} was exported by JAX {about.get("jax")} and cannot be read by JAX '
            f'{jax.__version__}; a later JAX reads what an earlier one wrote, not '
            'always the reverse: install the later one, or export again with this one'
        ) from error
    try:
        class_names = tuple(about['class_names'])
        return ExportedModel(
            step=int(about['checkpoint_step']),
            class_names=class_names,
            image_shape=_image_shape(exported, len(class_names)),
            batch_size=int(about['eval_batch_size']),
            call=jax.jit(exported.call),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path} does not hold a classifier of images as fmnist_jax.export writes '
            f'it: its program takes {exported.in_avals} and gives {exported.out_avals}'
        ) from error


def _check_version(module: bytes) -> None:
    """Refuses StableHLO that is newer than this JAX's, for which MLIR's parser is loud.

    Raises:
      ValueError: it is newer.
    """
    known = stablehlo.get_current_version()
    found = re.search(rb'StableHLO_v([\d.]+)', module)
    if found and _as_numbers(found[1].decode()) > _as_numbers(known):
        raise ValueError(f'StableHLO {found[1].decode()} is newer than {known}')


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split('.'))


def _image_shape(
    exported: jax_export.Exported, num_classes: int
) -> tuple[int, int, int]:
    """Height, width and channels of the images that a classifier takes.

    Raises:
      ValueError: it is none of so many classes.
    """
    (images,), (result,) = exported.in_avals, exported.out_avals
    batch, *image_shape = images.shape
    is_classifier = (
        images.dtype == np.uint8
        and len(image_shape) == 3
        and all(isinstance(size, int) for size in image_shape)
        and not isinstance(batch, int)
        and result.shape == (batch, num_classes)
        and result.dtype == np.float32
    )
    if not is_classifier:
        raise ValueError('not a classifier')
    return tuple(image_shape)
