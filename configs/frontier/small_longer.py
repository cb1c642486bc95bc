"""`small` for longer, with random erasing: again at most 100,000 parameters.

    python -m fmnist_jax.main --config=configs/frontier/small_longer.py

configs/frontier/small.py for twice as many epochs, with random erasing (Zhong et al.,
2020, https://arxiv.org/abs/1708.04896, whose ResNet-20 has 95.55 % with it on
Fashion-MNIST, and 95.18 % without). Its trials are in results/frontier.md.

Measured (results/runs/frontier/small_longer):
not measured yet.
"""

from ml_collections import ConfigDict

from configs.frontier import small


def get_config() -> ConfigDict:
    config = small.get_config()
    config.augmentation = (*config.augmentation, {'name': 'random_erasing'})
    config.num_epochs = 100
    return config
