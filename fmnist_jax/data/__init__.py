"""From a data source to arrays on the device: IDX files → TFDS → uint8 arrays."""

from fmnist_jax.data.dataset import Dataset, load_dataset

__all__ = ['Dataset', 'load_dataset']
