"""The best found with at most 8,000 parameters, TinyVGG's size.

    python -m fmnist_jax.main --config=configs/frontier/tiny.py

What it came to is in results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'compact'
    config.num_epochs = 60
    return config
