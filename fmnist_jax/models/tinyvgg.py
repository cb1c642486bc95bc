"""TinyVGG: blocks of two 3x3 convolutions, each block ending in a max-pool."""

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.errors import unknown_name
from fmnist_jax.kernels import max_pool
from fmnist_jax.models.layers import (
    flatten,
    get_activation,
    get_layers,
    torch_batch_norm,
)


class TinyVGG(nn.Module):
    """TinyVGG as in two of the reproduced projects; 7,740 parameters at 28x28x1.

    `num_blocks` times: [convolution 3x3, activation] twice, max-pool 2x2; then flatten
    and a dense layer. Parameters are counted for 10 classes:

    - `tinyvgg`: https://github.com/Molten-Ice/Deep-Learning (its V2) and
      https://github.com/yikunsun/CNN_FashionMNIST.
    - `tinyvgg_3block`: the first one's V3, with num_blocks=3; 5,560 parameters.
    - `tinyvgg_explainer`: the CNN Explainer's (https://github.com/poloclub/cnn-explainer,
      tiny-vgg/tiny-vgg.py), which both are after, with padding='VALID' and
      initializers='keras'; 19,920 parameters at its 64x64x3, 4,440 at 28x28x1.

    Attributes:
      num_classes: number of logits.
      features: channels of every convolution.
      num_blocks: blocks of two convolutions and a max-pool.
      activation: 'relu', 'leaky_relu' (slope 0.01), 'gelu' (exact) or 'sigmoid'.
      batch_norm: whether BatchNorm, with PyTorch's defaults, comes between each
        convolution and its activation.
      padding: of the convolutions: 'SAME' keeps height and width, 'VALID' takes a
        pixel off each side.
      initializers: 'torch' or 'keras', whose defaults the weights are drawn by.
      axis_name: the mapped axis over which BatchNorm averages its statistics in
        training; None outside `pmap`.
    """

    num_classes: int
    features: int = 10
    num_blocks: int = 2
    activation: str = 'relu'
    batch_norm: bool = False
    padding: str = 'SAME'
    initializers: str = 'torch'
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        if self.padding not in ('SAME', 'VALID'):
            raise unknown_name('model.padding', self.padding, ('SAME', 'VALID'))
        conv, dense = get_layers(self.initializers)
        activation = get_activation(self.activation)
        x = images
        for _ in range(self.num_blocks):
            for _ in range(2):
                x = conv(x, self.features, (3, 3), padding=self.padding)
                if self.batch_norm:
                    x = torch_batch_norm(x, train=train, axis_name=self.axis_name)
                x = activation(x)
            x = max_pool(x)
        return dense(flatten(x), self.num_classes)
