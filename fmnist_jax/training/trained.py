"""A trained model: a work folder and the name of a checkpoint in, predictions out."""

import dataclasses
from collections.abc import Callable

import numpy as np
from etils import epath
from jaxtyping import Float, PyTree, UInt8
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data.batches import Examples, Normalization
from fmnist_jax.models import create_model, own
from fmnist_jax.models.check import check_model
from fmnist_jax.training import parallel, provenance
from fmnist_jax.training.checkpoint import check_fit
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.inference import ModelFunctions, make_predict
from fmnist_jax.training.precision import get_precision
from fmnist_jax.training.state import abstract_variables


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model and what it learned.

    Attributes:
      config: of its run.
      functions: how pixels become logits.
      params: NumPy arrays, in the param dtype.
      batch_stats: likewise; {} for models without.
      step: the checkpoint's, completed updates.
      class_names: one a label.
      image_shape: height, width, channels.
    """

    config: ConfigDict
    functions: ModelFunctions
    params: PyTree
    batch_stats: PyTree
    step: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]

    @property
    def variables(self) -> dict[str, PyTree]:
        """`params` and `batch_stats`."""
        return {'params': self.params, 'batch_stats': self.batch_stats}

    def predictor(
        self,
    ) -> Callable[[UInt8[np.ndarray, 'n h w c']], Float[np.ndarray, 'n classes']]:
        """`log_probabilities` for several arrays: the model is placed and mapped once.

        Arrays of the same shape share what is compiled.
        """
        group = parallel.DeviceGroup.for_batch(self.config.batch_size)
        predict = make_predict(self.functions, group, self.config.eval_batch_size)
        variables = group.replicate((self.params, self.batch_stats))

        def log_probabilities(
            images: UInt8[np.ndarray, 'n h w c'],
        ) -> Float[np.ndarray, 'n classes']:
            examples = Examples(images, np.zeros(len(images), np.int32))
            return predict(*variables, group.replicate(examples))

        return log_probabilities

    def log_probabilities(
        self, images: UInt8[np.ndarray, 'n h w c']
    ) -> Float[np.ndarray, 'n classes']:
        """What the model says of images, on the devices that the config asks for."""
        return self.predictor()(images)

    def probabilities(
        self, images: UInt8[np.ndarray, 'n h w c']
    ) -> Float[np.ndarray, 'n classes']:
        """Likewise, as probabilities."""
        return np.exp(self.log_probabilities(images))


def read_config(folder: epath.Path, log: Callable[[str], None]) -> ConfigDict:
    """The config of the run in a work folder.

    Args:
      folder: of the run.
      log: told which file will be run, if the model is one of the user's own.

    Raises:
      UserError: there is none, or it is damaged.
    """
    values = workdir_lib.read_json_object(folder / workdir_lib.CONFIG)
    config = config_lib.from_dict(values)
    config_lib.validate(config)
    if line := own.describe(config.model.name):
        log(line)
    return config


def load(
    folder: epath.Path,
    checkpoint: str = 'best',
    log: Callable[[str], None] = print,
) -> TrainedModel:
    """Reads a trained model from a work folder alone; its data need not be here.

    Args:
      folder: of a run.
      checkpoint: `best`, `last` or a step.
      log: told in one line what happens.

    Raises:
      UserError: there is no such run or checkpoint, or it is damaged.
    """
    config = read_config(folder, log)
    configure_jax(config)
    return load_configured(folder, config, checkpoint, log)


def load_configured(
    folder: epath.Path, config: ConfigDict, checkpoint: str, log: Callable[[str], None]
) -> TrainedModel:
    """Likewise, where JAX has been configured for this run, or for another.

    Args:
      folder: of a run.
      config: of that run; its precision is one that JAX is configured for.
      checkpoint: `best`, `last` or a step.
      log: told in one line what happens.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    step = Checkpoints(folder).find(checkpoint, log)
    description = provenance.read_data_description(folder)
    return restore(folder, config, step, **description)


def restore(
    folder: epath.Path,
    config: ConfigDict,
    step: int,
    class_names: tuple[str, ...],
    image_shape: tuple[int, int, int],
) -> TrainedModel:
    """Reads a checkpoint's model.

    Args:
      folder: of a run.
      config: of that run; `configure_jax` has been called.
      step: of a whole checkpoint, as `Checkpoints.find` gives it.
      class_names: one a label.
      image_shape: height, width, channels.

    Raises:
      UserError: the checkpoint holds another model's state, or the model is not one.
    """
    model = create_model(
        num_classes=len(class_names), axis_name=parallel.AXIS, **config.model
    )
    check_model(model, config.model.name, image_shape, len(class_names))
    precision = get_precision(config.precision)
    checkpoints = Checkpoints(folder)
    variables = checkpoints.read_variables(step)
    wanted = abstract_variables(model, image_shape, precision.param)
    check_fit(checkpoints.folder / str(step), variables, wanted)
    return TrainedModel(
        config=config,
        functions=ModelFunctions(
            model, Normalization(config.data.mean, config.data.std), precision
        ),
        step=step,
        class_names=class_names,
        image_shape=image_shape,
        **variables,
    )
