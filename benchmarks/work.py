"""The useful work of training on one image, counted from the model's layers.

Counted as direct convolutions and matrix products, from the shapes of kernels and
results: what a faster method computes besides, or leaves out, changes nothing.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Jaxpr
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class LayerWork:
    """One call of a layer.

    Attributes:
      name: the layer's path in the model.
      multiply_adds: of the forward pass, on one image; padding is counted as pixels.
      needs_input_gradient: whether a parameter comes before it. The image itself needs
        no gradient.
    """

    name: str
    multiply_adds: int
    needs_input_gradient: bool

    @property
    def training_flops(self) -> int:
        """Forward, the kernel's gradient and, if needed, the input's.

        Each has as many multiply-adds as the other, of two operations each.
        """
        return 2 * self.multiply_adds * (2 + self.needs_input_gradient)


def layers_work(model: nn.Module, image_shape: tuple[int, int, int]) -> list[LayerWork]:
    """The model's convolutions and dense layers, in the order of their calls.

    Args:
      model: called as `model(images, train=False)`.
      image_shape: height, width, channels.
    """
    names, counts = [], []

    def layer_inputs(variables, images) -> list[Array]:
        inputs = []

        def record(call, args, kwargs, context):
            result = call(*args, **kwargs)
            module = context.module
            if isinstance(module, nn.Conv | nn.Dense) and (
                context.method_name == '__call__'
            ):
                kernel = module.variables['params']['kernel'].shape
                # Each number of the result is a sum over all but the kernel's last
                # dimension, which is the result's last.
                names.append('/'.join(module.path))
                counts.append(math.prod(result.shape[1:]) * math.prod(kernel[:-1]))
                inputs.append(args[0])
            return result

        with nn.intercept_methods(record):
            model.apply(variables, images, train=False)
        return inputs

    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(
        lambda images: model.init(jax.random.key(0), images, train=False), images
    )
    jaxpr = jax.make_jaxpr(layer_inputs)(variables, images).jaxpr
    return [
        LayerWork(*work)
        for work in zip(names, counts, _depends_on_parameters(jaxpr), strict=True)
    ]


def _depends_on_parameters(jaxpr: Jaxpr) -> list[bool]:
    """Of each result, whether it depends on another argument than the last."""
    dependent = set(map(id, jaxpr.invars[:-1]))
    for operation in jaxpr.eqns:
        if any(id(variable) in dependent for variable in operation.invars):
            dependent.update(map(id, operation.outvars))
    return [id(variable) in dependent for variable in jaxpr.outvars]


def training_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Useful operations of training on one image: forward and both gradients."""
    return sum(layer.training_flops for layer in layers_work(model, image_shape))
