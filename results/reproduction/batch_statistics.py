"""Scores runs as S4 does: python -m results.reproduction.batch_statistics WORKDIR...

S4's network is never switched to evaluation mode. After each epoch, all test images
form one batch, whose own statistics BatchNorm normalises by; and their pixels are not
divided by 255, as those trained on are. That is done here with every epoch's
checkpoint, with pixels as they are (`raw`) and as the config normalises them
(`scaled`); `batch_statistics.json` in the work folder has what came out. An image's
prediction then depends on the images scored with it.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Array, Float, PyTree

from fmnist_jax import cli
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import load_dataset
from fmnist_jax.data.batches import normalize
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.reporting.runs import Run
from fmnist_jax.training import provenance, trained
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.inference import ModelFunctions
from results.keep import BATCH_STATISTICS


def score(workdir: epath.PathLike) -> dict[str, Any]:
    """Scores every epoch of a run on the test split, as one batch in training mode.

    Args:
      workdir: of a run whose checkpoints were all kept.

    Returns:
      What `batch_statistics.json` holds: for each epoch `raw` and `scaled`, each with
      `loss` and `accuracy`.

    Raises:
      UserError: there is no such run, a checkpoint of it is missing or damaged, the
        data are not the run's, or the model has no BatchNorm.
    """
    folder = workdir_lib.locate(workdir)
    config = trained.read_config(folder, log)
    configure_jax(config)
    dataset = load_dataset(config.data, log)
    provenance.check_data(dataset, folder)
    images, labels = dataset.split(config.data.test_split)
    epochs, predict = [], None
    for line in Run.read(folder).lines('validation'):
        step = Checkpoints(folder).find(str(line['step']), log)
        model = trained.restore(
            folder, config, step, dataset.class_names, dataset.image_shape
        )
        if not model.batch_stats:
            raise UserError(
                f'{folder}: model {config.model.name!r} has no BatchNorm, so that '
                'training mode is of no matter'
            )
        predict = predict or _make_predict(model.functions)
        scores = {
            name: loss_and_accuracy(
                np.asarray(predict(model.params, model.batch_stats, images, scaled)),
                labels,
            )
            for name, scaled in (('raw', False), ('scaled', True))
        }
        epochs.append({'epoch': line['epoch'], 'step': step, **scores})
    result = {
        'split': config.data.test_split,
        'num_examples': len(labels),
        'epochs': epochs,
    }
    workdir_lib.write_json(folder / BATCH_STATISTICS, result)
    last = epochs[-1]['raw']
    log(
        f'{folder}: after epoch {epochs[-1]["epoch"]}, with the statistics of the '
        f'test images: loss {last["loss"]:.4f}, accuracy {last["accuracy"]:.4f}'
    )
    return result


def _make_predict(
    functions: ModelFunctions,
) -> Callable[..., Float[Array, 'n classes']]:
    """A function of (params, batch_stats, images, scaled), in training mode."""
    # Without the axis of devices: all the images are one batch on one of them.
    module = functions.model.clone(axis_name=None)

    def predict(params: PyTree, batch_stats: PyTree, images: Array, scaled: bool):
        dtype = functions.precision.compute
        pixels = images.astype(dtype)
        if scaled:
            pixels = normalize(images, functions.normalization, dtype)
        logits, _ = module.apply(
            {'params': params, 'batch_stats': batch_stats},
            pixels,
            train=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        return jax.nn.log_softmax(logits)

    return jax.jit(predict, static_argnums=3)


def main(workdirs: list[str]) -> None:
    """Scores all the runs."""
    for workdir in workdirs:
        score(workdir)


if __name__ == '__main__':
    cli.run(main, arguments='WORKDIR...')
