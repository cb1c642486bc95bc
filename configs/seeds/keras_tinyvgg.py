"""S1's network, which it calls TinyVGG; 21,706 parameters.

    python -m fmnist_jax.main --config=configs/seeds/keras_tinyvgg.py

https://github.com/DavAll22/Fashion-MNIST. Its learning-rate sweep, 50 epochs at
1e-4 * 10^(epoch / 20):

    python -m fmnist_jax.lr_range_test --config=configs/seeds/keras_tinyvgg.py \\
      --per=epoch --min=1e-4 --max=0.0282 --duration='50 epochs' --workdir=runs/lr

The test set chooses the best epoch.

Published, and here (keras_tinyvgg in results/reproduction.md):
- keras_tinyvgg, epoch 25: test accuracy 90.02 %, here 90.16 ± 0.27 % (n = 10).
- learning-rate sweep over 50 epochs: test accuracy 79.56 %, here 78.74 ± 2.19 % (n =
  5).
"""

from ml_collections import ConfigDict

from configs.seeds import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'keras_tinyvgg'
    config.num_epochs = 25
    default.use_keras_adam(config)
    return config
