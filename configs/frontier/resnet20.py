"""ResNet-20 (0.27 M parameters) with random erasing.

    python -m fmnist_jax.main --config=configs/frontier/resnet20.py

After https://github.com/zhunzhong07/Random-Erasing (95.55 ± 0.04 % with random erasing
there), with averaged weights. It needs an accelerator, and was not run whole;
see results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'resnet20'
    default.use_nesterov(config)
    config.augmentation = (
        {'name': 'horizontal_flip'},
        {'name': 'pad_and_crop', 'padding': 4},
        {'name': 'random_erasing'},
    )
    config.num_epochs = 300
    return config
