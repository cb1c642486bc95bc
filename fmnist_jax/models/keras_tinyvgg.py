"""TinyVGG as a Keras project has it."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.kernels import max_pool
from fmnist_jax.models.layers import flatten, keras_conv, keras_dense


class KerasTinyVGG(nn.Module):
    """Three convolutions with max-pools between: 21,706 parameters at 28x28x1.

    https://github.com/DavAll22/Fashion-MNIST: convolution 3x3 VALID 32, ReLU, max-pool
    2x2; the same again; convolution 3x3 VALID 32, ReLU; flatten; dense (10 classes).

    Attributes:
      num_classes: number of logits.
      features: channels of each convolution.
    """

    num_classes: int
    features: Sequence[int] = (32, 32, 32)

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        del train  # The same in training and evaluation.
        x = images
        for i, features in enumerate(self.features):
            if i > 0:
                x = max_pool(x)
            x = nn.relu(keras_conv(x, features, (3, 3), padding='VALID'))
        return keras_dense(flatten(x), self.num_classes)
