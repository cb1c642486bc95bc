"""Wide ResNets, for the highest accuracy of any size.

    python -m fmnist_jax.main --config=configs/frontier/wide_resnet.py[:VARIANT]

The variants are the models: `wrn_16_4` (the default), `wrn_28_10` and `wrn_40_4`. After
https://github.com/Liang-yc/fn_playground (WRN-40-4 with FMix, RandAugment, random
erasing, label smoothing and averaged weights: about 96.6 %), with cutmix for FMix. They
need an accelerator, and were not run whole; see results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import default
from configs.seeds.default import check_variant

VARIANTS = ('wrn_16_4', 'wrn_28_10', 'wrn_40_4')


def get_config(variant: str = 'wrn_16_4') -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = default.get_config()
    config.model.name = variant
    default.use_nesterov(config)
    config.label_smoothing = 0.1
    config.augmentation = (
        {'name': 'horizontal_flip'},
        {'name': 'pad_and_crop', 'padding': 4},
        {'name': 'rand_augment', 'num_ops': 1},
        {'name': 'random_erasing'},
        {'name': 'cutmix'},
    )
    config.precision = 'bfloat16'
    config.num_epochs = 300
    return config
