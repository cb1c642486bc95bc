"""S2's TinyVGG with plain SGD, 3 epochs; 7,740 parameters.

    python -m fmnist_jax.main --config=configs/seeds/tinyvgg_sgd.py[:VARIANT]

https://github.com/yikunsun/CNN_FashionMNIST. The variants are what it is trained on:

- `plain` (the default): the 60,000 images as they are;
- `rand_augment`: each changed by two of RandAugment's operations, anew in each epoch;
- `original_and_augmented`: both, 120,000 images an epoch.

Its other runs are `plain` with `--config.num_epochs=5`, and with
`--config.optimizer.learning_rate=0.2` (which may diverge) or `=0.05`. The test set
chooses the best epoch.

Published, and here (tinyvgg_sgd in results/reproduction.md):
- tinyvgg: test accuracy 88.58 %, here 87.86 ± 0.75 % (n = 5).
- tinyvgg, RandAugment: test accuracy 86.95 %, here 86.71 ± 0.64 % (n = 5).
- tinyvgg, original + augmented: test accuracy 87.40 %, here 88.32 ± 1.01 % (n = 10).
- tinyvgg, 5 epochs: test accuracy 89.09 %, here 88.59 ± 1.00 % (n = 5).
- tinyvgg, learning rate 0.2: test accuracy 9.99 %, here 85.70 ± 1.61 % (n = 2), 3
  others at chance.
- tinyvgg, learning rate 0.05: test accuracy 88.01 %, here 87.83 ± 0.57 % (n = 5).
"""

from ml_collections import ConfigDict

from configs.seeds import default

VARIANTS = ('plain', 'rand_augment', 'original_and_augmented')


def get_config(variant: str = 'plain') -> ConfigDict:
    default.check_variant(variant, VARIANTS)
    config = default.get_config()
    config.model.name = 'tinyvgg'
    config.num_epochs = 3
    if variant != 'plain':
        config.augmentation = ({'name': 'rand_augment', 'num_ops': 2},)
    if variant == 'original_and_augmented':
        config.augmented_copies = 1
    return config
