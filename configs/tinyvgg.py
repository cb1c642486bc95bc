"""TinyVGG (7,740 parameters), a first recipe, not tuned.

    ./launch.sh

On two cores of an AMD EPYC: 4 min 22 s of training (1,680 images/s), 6 min 39 s with
all the set-up of a fresh machine. Validation accuracy 91.62 % (best epoch, 7), test
accuracy 91.00 % at that checkpoint; one run, seed 0, kept in results/runs/tinyvgg.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'tinyvgg'
    # Mean and standard deviation of the training pixels.
    config.data.mean = 0.286
    config.data.std = 0.353
    config.batch_size = 64
    config.num_epochs = 8
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 0.005
    config.optimizer.schedule = 'cosine'
    return config
