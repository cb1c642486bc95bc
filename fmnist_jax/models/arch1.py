"""The first of three networks of a Keras project."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.kernels import max_pool
from fmnist_jax.models.layers import (
    Dropout,
    check_dropout_rates,
    flatten,
    keras_batch_norm,
    keras_conv,
    keras_dense,
)


class Arch1(nn.Module):
    """Three convolutions, two max-pools, a wide dense layer: 848,330 parameters.

    https://github.com/AkhilSinghRana/Fashion-MNIST-CNN, code/util/model.py, "v1":
    convolution 3x3 SAME 16, ReLU; [convolution 3x3 VALID, BatchNorm, ReLU, max-pool
    2x2, dropout] with 32 and with 64 channels; flatten; dense 512, ReLU, dropout;
    dense. Parameters are counted at 28x28x1 for 10 classes.

    Attributes:
      num_classes: number of logits.
      dropout_rate: of the two blocks and of the dense layer.
      axis_name: the mapped axis over which the batch is spread in training, for
        BatchNorm's statistics and dropout's masks; None outside `pmap`.
    """

    num_classes: int
    dropout_rate: Sequence[float | Array] = (0.25, 0.25, 0.5)
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        *block_rates, dense_rate = check_dropout_rates(self.dropout_rate, 3)
        x = nn.relu(keras_conv(images, 16, (3, 3), padding='SAME'))
        for features, rate in zip((32, 64), block_rates, strict=True):
            x = keras_conv(x, features, (3, 3), padding='VALID')
            x = keras_batch_norm(x, train=train, axis_name=self.axis_name)
            x = max_pool(nn.relu(x))
            x = Dropout(rate, self.axis_name)(x, train=train)
        x = nn.relu(keras_dense(flatten(x), 512))
        x = Dropout(dense_rate, self.axis_name)(x, train=train)
        return keras_dense(x, self.num_classes)
