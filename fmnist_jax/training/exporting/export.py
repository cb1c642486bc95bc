"""A trained model as one file: StableHLO by `jax.export`, sealed with a checksum.

The program holds the weights and the normalisation of pixels: raw images in,
probabilities out. Its batch size is open, so it has XLA's operations and none of
`kernels.c`, which only machines with this package have. It computes in the
types of the run's `precision` and returns float32. In bfloat16, what a model says of an
image varies in the third digit with the size of the batch, here as in evaluation.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from jax import export as jax_export

import fmnist_jax
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, explain
from fmnist_jax.reporting.console import log
from fmnist_jax.training import parallel, trained
from fmnist_jax.training.exporting import sealed
from fmnist_jax.training.inference import log_probabilities

PLATFORMS = ('cpu', 'cuda', 'tpu')


def export(
    workdir: epath.PathLike, output: epath.PathLike, checkpoint: str = 'best'
) -> None:
    """Writes a run's model as one file, whole or not at all.

    Args:
      workdir: of a run.
      output: the file; its folder is made where there is none.
      checkpoint: `best`, `last` or a step.

    Raises:
      UserError: there is no such run or checkpoint, the model cannot be exported, or
        the file cannot be written.
    """
    path = workdir_lib.locate(output)
    _check_output(path)
    model = trained.load(workdir_lib.locate(workdir), checkpoint, log)
    content = sealed.seal(_lower(model).serialize(), _describe(model))
    workdir_lib.write_bytes(path, content)
    _tell(path, len(content), model)


def _lower(model: trained.TrainedModel) -> jax_export.Exported:
    """The program of raw images, on all platforms, with the weights in it."""

    def probabilities(images):
        # Evaluation is given the weights, here they are constants: the barrier keeps
        # XLA from computing with them in advance, which rounds otherwise.
        variables = jax.lax.optimization_barrier((model.params, model.batch_stats))
        result = log_probabilities(model.functions, *variables, images)
        return jnp.exp(result).astype(jnp.float32)

    sizes = ', '.join(map(str, model.image_shape))
    shape = jax_export.symbolic_shape(f'batch, {sizes}')
    name = model.config.model.name
    try:
        with _no_folders_in_program():
            return jax_export.export(jax.jit(probabilities), platforms=PLATFORMS)(
                jax.ShapeDtypeStruct(shape, jnp.uint8)
            )
    # Whatever the user's own model does with a size that is not a number.
    except Exception as error:
        problem = explain(error, type(model.functions.model).__module__)
        raise UserError(
            f'model {name!r} cannot be exported with an open batch size: {problem}'
        ) from error


@contextlib.contextmanager
def _no_folders_in_program() -> Iterator[None]:
    """Source files by their names alone: folders tell of the machine, and differ."""
    before = jax.config.jax_hlo_source_file_canonicalization_regex
    jax.config.update('jax_hlo_source_file_canonicalization_regex', r'.*[/\\]')
    try:
        yield
    finally:
        jax.config.update('jax_hlo_source_file_canonicalization_regex', before)


def _describe(model: trained.TrainedModel) -> dict[str, Any]:
    """What the file says of the model beside its program."""
    group = parallel.DeviceGroup.for_batch(model.config.batch_size)
    return {
        'fmnist_jax': fmnist_jax.__version__,
        'jax': jax.__version__,
        'model': config_lib.to_dict(model.config)['model'],
        'precision': model.config.precision,
        'eval_batch_size': -(-model.config.eval_batch_size // len(group)),
        'checkpoint_step': model.step,
        'class_names': model.class_names,
    }


def _check_output(path: epath.Path) -> None:
    """Tells before the work, as far as that is known, that a file cannot be written."""
    # A device would be replaced; epath takes one for a file.
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(
            f'cannot write {path}: it is a folder, or a device; name a file with '
            '--output, such as tinyvgg.stablehlo'
        )
    workdir_lib.check(path.parent, 'choose another --output')


def _tell(path: epath.Path, size: int, model: trained.TrainedModel) -> None:
    image = ', '.join(map(str, model.image_shape))
    source = f"open({os.fspath(path)!r}, 'rb').read()"
    log(
        f'{path}: {model.config.model.name} of step {model.step}, {size:,} bytes, for '
        f'{", ".join(PLATFORMS)}; with nothing but jax and flatbuffers:\n'
        '  from jax import export\n'
        f'  model = export.deserialize(bytearray({source}))\n'
        f'  probabilities = model.call(images)  # uint8 [n, {image}] in, '
        f'float32 [n, {len(model.class_names)}] out'
    )
