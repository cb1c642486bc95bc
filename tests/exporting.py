"""What the tests of `export` share: the work folder of a linear model."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.models import create_model
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.record import Record
from fmnist_jax.training.state import EpochSums, TrainState


def make_run(
    folder: Path,
    kernel: np.ndarray,
    bias: np.ndarray,
    class_names: tuple[str, ...],
    precision: str = 'float32',
) -> None:
    """The work folder of a linear model, with a checkpoint of step 7."""
    config = default.get_config()
    config.model.name = 'linear'
    config.precision = precision
    # As many as the tests have already.
    config.num_cpu_devices = 8
    config.data.mean, config.data.std = 0.25, 0.5
    workdir_lib.write_json(
        epath.Path(folder / workdir_lib.CONFIG), config_lib.to_dict(config)
    )
    data = {'class_names': class_names, 'image_shape': (28, 28, 1)}
    workdir_lib.write_json(epath.Path(folder / workdir_lib.PROVENANCE), {'data': data})
    with jax.enable_x64(precision == 'float64'):
        # Named as the model names them.
        model = create_model('linear', num_classes=len(bias))
        init = functools.partial(model.init, train=False)
        images = jnp.zeros((1, 28, 28, 1))
        shapes = jax.eval_shape(init, jax.random.key(0), images)
        by_rank = {2: kernel, 1: bias}
        params = jax.tree.map(lambda s: jnp.asarray(by_rank[s.ndim]), shapes['params'])
        state = TrainState(
            step=jnp.int32(7),
            params=params,
            batch_stats={},
            opt_state=(),
            sums=EpochSums.zeros(kernel.dtype),
            bad_step=jnp.int32(0),
        )
        Checkpoints(epath.Path(folder)).save(state, Record(), keep_last=2)
