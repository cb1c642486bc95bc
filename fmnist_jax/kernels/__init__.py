"""Convolution and max-pooling that are fast on a CPU.

Why: on a CPU, XLA's convolutions of few channels run at a tenth of the processor's
speed, their kernels' gradients and those in a loop at less, and the gradient of its
max-pool takes as long as a convolution. A Flax model trained several times slower than
with PyTorch or Keras.

What: kernels in C (`kernels.c`) that XLA calls through its foreign function interface
(https://docs.jax.dev/en/latest/ffi.html), compiled for the processor at hand by the
system's C compiler when they are first used, and kept in the user's cache (`library`).
`conv_general_dilated` is handed to `nn.Conv`, `max_pool` is called by models; each
chooses when a program is lowered, so that accelerators get XLA's operations. So do CPUs
without a compiler, exported programs with an open batch, and other types than float32,
but for depthwise convolutions, which are made of XLA's additions and products (and of
these kernels in their gradients). Convolutions with strides are sums of such without
(`strided`); dilations and other groups are XLA's.

What was tried before, what won and by how much is in results/speed.md.
"""

from fmnist_jax.kernels.convolution import conv_general_dilated
from fmnist_jax.kernels.pooling import max_pool

__all__ = ['conv_general_dilated', 'max_pool']
