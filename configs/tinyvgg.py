"""TinyVGG (7,740 parameters)."""

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
