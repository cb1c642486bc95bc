"""Linear classifiers."""

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.layers import flatten, torch_dense


class Linear(nn.Module):
    """Multinomial logistic regression on pixels: flatten, dense.

    The baseline of https://github.com/yikunsun/CNN_FashionMNIST; 7,850 parameters at
    28x28x1 and 10 classes. `linear_v0`, with hidden=(10,), is the baseline of
    https://github.com/Molten-Ice/Deep-Learning; 7,960 parameters. Without an activation
    between, a second layer adds nothing that one could not compute; it changes how the
    model trains.

    Attributes:
      num_classes: number of logits.
      hidden: units of each dense layer before the classifier.
    """

    num_classes: int
    hidden: Sequence[int] = ()

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        del train  # The same in training and evaluation.
        x = flatten(images)
        for features in (*self.hidden, self.num_classes):
            x = torch_dense(x, features)
        return x
