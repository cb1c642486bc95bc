"""For the highest accuracy with at most 100,000 parameters.

    python -m fmnist_jax.main --config=configs/frontier/small.py

Basic residual blocks at 16, 36 and 72 channels, 96,226 parameters, light augmentation,
averaged weights. Its only trial is in results/frontier.md.

Measured (results/runs/frontier/small):
test accuracy 94.21 ± 0.11 %, at the epoch of the best validation accuracy (94.79 ± 0.10
%); seeds 0, 1, 2. 96,226 parameters, 50 epochs. The fastest of the runs trained for 21
min 32 s, on 2 cores of Intel(R) Xeon(R) Processor (2,144 images/s).
"""

from ml_collections import ConfigDict

from configs.frontier import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'compact'
    config.model.block = 'basic'
    config.model.stem = 16
    config.model.widths = (16, 36, 72)
    config.model.depths = (1, 1, 1)
    config.augmentation = (
        {'name': 'horizontal_flip'},
        {'name': 'pad_and_crop', 'padding': 2},
    )
    config.num_epochs = 50
    return config
