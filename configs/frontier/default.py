"""What the recipes for accuracy have in common; no recipe by itself.

Pixels have the training images' mean and standard deviation, the last 5,000 training
images choose, and the test set is scored once, with a single forward pass.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.mean = 0.286
    config.data.std = 0.353
    config.batch_size = 128
    config.optimizer.name = 'adamw'
    config.optimizer.weight_decay = 0.05
    config.optimizer.schedule = 'one_cycle'
    config.optimizer.learning_rate = 0.01
    # Of the weights; a window of some 1,000 updates.
    config.ema_decay = 0.999
    return config


def use_nesterov(config: ConfigDict) -> None:
    """Sets the optimizer of Wide ResNets, https://arxiv.org/abs/1605.07146."""
    config.optimizer.name = 'nesterov'
    config.optimizer.momentum = 0.9
    config.optimizer.learning_rate = 0.1
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule = 'cosine'
    config.optimizer.warmup = '1 epoch'
