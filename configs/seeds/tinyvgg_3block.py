"""S0's TinyVGG of three blocks (its V3); 5,560 parameters.

    python -m fmnist_jax.main --config=configs/seeds/tinyvgg_3block.py[:VARIANT]

https://github.com/Molten-Ice/Deep-Learning. The variants are two ways of counting loss
and accuracy on the training set; what is trained is the same, bit for bit:

- `running` (the default): over the epoch while the weights change, as published;
- `after_epoch`: by a pass over the training set after each epoch.

The test set chooses the best epoch.

Published, and here (tinyvgg_3block in results/reproduction.md):
- tinyvgg_3block, best epoch (its 6th): test accuracy 88.17 %, here 88.22 ± 0.96 % (n =
  5).
- tinyvgg_3block, epoch 10: test accuracy 85.94 %, here 88.07 ± 1.05 % (n = 5).
"""

from ml_collections import ConfigDict

from configs.seeds import default
from fmnist_jax.config_fields import TRAIN_METRICS as VARIANTS


def get_config(variant: str = 'running') -> ConfigDict:
    default.check_variant(variant, VARIANTS)
    config = default.get_config()
    config.model.name = 'tinyvgg_3block'
    config.train_metrics = variant
    return config
