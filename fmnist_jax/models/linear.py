"""Linear classifiers."""

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.layers import flatten, torch_dense


class Linear(nn.Module):
    """Multinomial logistic regression on pixels: flatten, dense.

    The baseline of https://github.com/yikunsun/CNN_FashionMNIST; 7,850 parameters.

    Attributes:
      num_classes: number of logits.
    """

    num_classes: int

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        del train  # The same in training and evaluation.
        return torch_dense(flatten(images), self.num_classes)
