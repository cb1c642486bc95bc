"""For the fastest training to 94 % on one GPU, after airbench.

    python -m benchmarks.time_to_accuracy --config=configs/frontier/speed.py

https://github.com/KellerJordan/cifar10-airbench: large batches, Muon for kernels, label
smoothing, a linear fall to zero, few epochs. It was not measured on a GPU yet; see
results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'speednet'
    config.batch_size = 500
    config.num_epochs = 8
    config.optimizer.name = 'muon'
    config.optimizer.momentum = 0.9
    config.optimizer.learning_rate = 0.02
    config.optimizer.schedule = 'linear'
    config.optimizer.warmup = '0.5 epochs'
    config.label_smoothing = 0.1
    config.augmentation = (
        {'name': 'horizontal_flip'},
        {'name': 'pad_and_crop', 'padding': 2},
    )
    config.precision = 'bfloat16'
    return config
