"""The best that two CPU cores do in five minutes of training.

    python -m fmnist_jax.main --config=configs/frontier/five_minutes.py

What it came to is in results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import speed


def get_config() -> ConfigDict:
    config = speed.get_config()
    config.precision = 'float32'
    config.model.width = 16
    return config
