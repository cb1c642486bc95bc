"""A small batch-normalised CNN."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.kernels import max_pool
from fmnist_jax.models.layers import (
    flatten,
    torch_batch_norm,
    torch_conv,
    torch_dense,
)


class BatchNormCNN(nn.Module):
    """Two blocks of 5x5 convolution, BatchNorm, ReLU, max-pool; then two dense layers.

    https://github.com/maccarini/pytorch-cnn; 55,018 parameters at 28x28x1.

    Attributes:
      num_classes: number of logits.
      features: channels of each block's convolution.
      hidden: units of the dense layer before the classifier.
      axis_name: the mapped axis over which BatchNorm averages its statistics in
        training, so that a batch spread over devices is normalised as one; None
        outside `pmap`.
    """

    num_classes: int
    features: Sequence[int] = (12, 24)
    hidden: int = 120
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        x = images
        for features in self.features:
            x = torch_conv(x, features, (5, 5), padding='VALID')
            x = torch_batch_norm(x, train=train, axis_name=self.axis_name)
            x = max_pool(nn.relu(x))
        x = nn.relu(torch_dense(flatten(x), self.hidden))
        return torch_dense(x, self.num_classes)
