"""TinyVGG: two blocks of two 3x3 convolutions, each block ending in a max-pool."""

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.layers import flatten, torch_conv, torch_dense


class TinyVGG(nn.Module):
    """TinyVGG as in two of the reproduced projects; 7,740 parameters at 28x28x1.

    https://github.com/Molten-Ice/Deep-Learning (its V2) and
    https://github.com/yikunsun/CNN_FashionMNIST, after the CNN Explainer
    (https://poloclub.github.io/cnn-explainer/).

    Attributes:
      num_classes: number of logits.
      features: channels of every convolution.
      num_blocks: blocks of two convolutions and a max-pool.
    """

    num_classes: int
    features: int = 10
    num_blocks: int = 2

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        del train  # The same in training and evaluation.
        x = images
        for _ in range(self.num_blocks):
            for _ in range(2):
                x = nn.relu(torch_conv(x, self.features, (3, 3), padding='SAME'))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return torch_dense(flatten(x), self.num_classes)
