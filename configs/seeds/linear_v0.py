"""S0's linear model: two dense layers, no activation between; 7,960 parameters.

    python -m fmnist_jax.main --config=configs/seeds/linear_v0.py

https://github.com/Molten-Ice/Deep-Learning. Adam at a learning rate of 0.1 cripples it.
The test set chooses the best epoch.

Published, and here (linear_v0 in results/reproduction.md):
- linear_v0, best epoch (its 6th): test accuracy 77.70 %, here 76.69 ± 0.47 % (n = 5).
- linear_v0, epoch 10: test accuracy 70.89 %, here 74.44 ± 1.08 % (n = 5).
"""

from ml_collections import ConfigDict

from configs.seeds import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'linear_v0'
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.1
    return config
