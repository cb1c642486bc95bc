"""For the highest accuracy in five minutes of training on two CPU cores.

    python -m fmnist_jax.main --config=configs/frontier/five_minutes.py

A start, which was not trained whole yet; see results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import speed


def get_config() -> ConfigDict:
    config = speed.get_config()
    config.precision = 'float32'
    config.model.width = 16
    return config
