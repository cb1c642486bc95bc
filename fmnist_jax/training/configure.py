"""What JAX must know before it uses a device."""

import os

import jax
import numpy as np
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.kernels import library
from fmnist_jax.training import memory, parallel
from fmnist_jax.training.precision import get_precision


def configure_jax(config: ConfigDict) -> None:
    """Sets what JAX must know before it uses a device.

    Raises:
      UserError: a field is out of range or unknown.
    """
    config_lib.validate(config)
    precision = get_precision(config.precision)
    if precision.param == np.float64:
        jax.config.update('jax_enable_x64', True)
    memory.keep_freed_memory()
    parallel.configure_cpu_devices(config.num_cpu_devices, config.batch_size)
    if jax.config.jax_compilation_cache_dir is None:
        folder = os.fspath(library.cache_folder() / 'jax')
        jax.config.update('jax_compilation_cache_dir', folder)
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
