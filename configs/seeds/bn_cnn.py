"""S4's network with BatchNorm; 55,018 parameters.

    python -m fmnist_jax.main --config=configs/seeds/bn_cnn.py

https://github.com/maccarini/pytorch-cnn. It is one run of a grid of six; all of them:

    python -m fmnist_jax.sweep --config=configs/seeds/bn_cnn.py \\
      --grid=optimizer.learning_rate=0.01,0.001 --grid=batch_size=100,500,1000 \\
      --workdir=runs/grid

The test set chooses the best epoch. S4 evaluates in training mode, on images whose
pixels are not divided by 255; so does

    python -m results.reproduction.batch_statistics runs/bn_cnn

Published, and here (bn_cnn in results/reproduction.md):
- bn_cnn, batch 100, learning rate 0.01, epoch 25, as S4 computed it: test accuracy
  89.92 %, here 90.14 ± 0.42 % (n = 5).
- bn_cnn, batch 100, learning rate 0.01, best epoch, as S4 computed it: test accuracy
  90.60 %, here 90.69 ± 0.18 % (n = 5).
- bn_cnn, batch 500, learning rate 0.01, epoch 25, as S4 computed it: test accuracy
  90.24 %, here 90.31 ± 0.27 % (n = 5).
- bn_cnn, batch 500, learning rate 0.01, best epoch, as S4 computed it: test accuracy
  90.93 %, here 90.79 ± 0.09 % (n = 5).
- bn_cnn, batch 1000, learning rate 0.01, epoch 25, as S4 computed it: test accuracy
  90.75 %, here 90.37 ± 0.12 % (n = 5).
- bn_cnn, batch 1000, learning rate 0.01, best epoch, as S4 computed it: test accuracy
  91.09 %, here 90.84 ± 0.09 % (n = 5).
- bn_cnn, batch 100, learning rate 0.001, epoch 25, as S4 computed it: test accuracy
  89.83 %, here 90.25 ± 0.43 % (n = 5).
- bn_cnn, batch 100, learning rate 0.001, best epoch, as S4 computed it: test accuracy
  90.85 %, here 90.83 ± 0.21 % (n = 5).
- bn_cnn, batch 500, learning rate 0.001, epoch 25, as S4 computed it: test accuracy
  89.90 %, here 90.24 ± 0.39 % (n = 5).
- bn_cnn, batch 500, learning rate 0.001, best epoch, as S4 computed it: test accuracy
  90.24 %, here 90.43 ± 0.14 % (n = 5).
- bn_cnn, batch 1000, learning rate 0.001, epoch 25, as S4 computed it: test accuracy
  89.60 %, here 89.81 ± 0.28 % (n = 5).
- bn_cnn, batch 1000, learning rate 0.001, best epoch, as S4 computed it: test accuracy
  90.01 %, here 90.09 ± 0.20 % (n = 5).
"""

from ml_collections import ConfigDict

from configs.seeds import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'bn_cnn'
    config.batch_size = 100
    config.num_epochs = 25
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.01
    # All epochs, and those of as many stops besides: what S4's evaluation says of an
    # epoch can only be found with its weights.
    config.checkpoint.keep_last = 1000
    config.checkpoint.every_minutes = None
    return config
