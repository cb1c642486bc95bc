"""Fashion-MNIST classification in JAX and Flax: research code to clone and extend."""

__version__ = '0.1.0'
