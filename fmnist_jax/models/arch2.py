"""The second of three networks of a Keras project."""

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


class Arch2(nn.Module):
    """BatchNorm on the pixels, two 4x4 convolutions: 493,772 parameters.

    https://github.com/AkhilSinghRana/Fashion-MNIST-CNN, code/util/model.py, "custom":
    BatchNorm; convolution 4x4 SAME 64 (padded by 1 pixel before and 2 after), ReLU,
    max-pool 2x2, dropout; the same VALID; flatten; dense 256, ReLU, dropout; dense 64,
    ReLU, BatchNorm; dense. Parameters are counted at 28x28x1 for 10 classes.

    Attributes:
      num_classes: number of logits.
      dropout_rate: of the two convolutions and of the first dense layer.
      axis_name: the mapped axis over which the batch is spread in training, for
        BatchNorm's statistics and dropout's masks; None outside `pmap`.
    """

    num_classes: int
    dropout_rate: Sequence[float | Array] = (0.1, 0.3, 0.5)
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        *conv_rates, dense_rate = check_dropout_rates(self.dropout_rate, 3)
        x = keras_batch_norm(images, train=train, axis_name=self.axis_name)
        for padding, rate in zip(('SAME', 'VALID'), conv_rates, strict=True):
            x = max_pool(nn.relu(keras_conv(x, 64, (4, 4), padding=padding)))
            x = Dropout(rate, self.axis_name)(x, train=train)
        x = nn.relu(keras_dense(flatten(x), 256))
        x = Dropout(dense_rate, self.axis_name)(x, train=train)
        x = nn.relu(keras_dense(x, 64))
        x = keras_batch_norm(x, train=train, axis_name=self.axis_name)
        return keras_dense(x, self.num_classes)
