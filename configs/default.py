"""Every field of a config, with its default. Others import this and change a few.

Any field can be changed on the command line: `--config.optimizer.learning_rate=0.05`.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Seed of everything random: initial weights, order of examples, augmentation.
    config.seed = 0

    config.model = ConfigDict()
    # A registered name (fmnist_jax/models/__init__.py) or `package.module:Class`. The
    # model's fields can be set beside it: config.model.features = 16.
    config.model.name = 'tinyvgg'

    config.data = ConfigDict()
    # `fashion_mnist`, or with idx_dir any name for data of your own.
    config.data.name = 'fashion_mnist'
    # Where data are prepared, once; shared by all runs.
    config.data.data_dir = '~/.cache/fmnist_jax/data'
    # A folder with the four IDX files (.gz or not); None to fetch them.
    config.data.idx_dir = config_dict.placeholder(str)
    # Splits in TFDS's syntax, https://www.tensorflow.org/datasets/splits. Validation
    # chooses the best checkpoint; test is for the end.
    config.data.train_split = 'train[:55000]'
    config.data.validation_split = 'train[55000:]'
    config.data.test_split = 'test'
    # Pixels are divided by 255, then (pixel - mean) / std; a tuple for one a channel.
    config.data.mean = 0.0
    config.data.std = 1.0

    # Examples an update, over all devices. Must divide evenly over those used.
    config.batch_size = 32
    # Passes over the training split; each leaves out the examples after its last full
    # batch, others each time.
    config.num_epochs = 10
    # Examples a call when evaluating; every example counts once.
    config.eval_batch_size = 1000

    config.optimizer = ConfigDict()
    # sgd or adam.
    config.optimizer.name = 'sgd'
    # The schedule's peak.
    config.optimizer.learning_rate = 0.1
    # constant, or cosine (to 0 at the end).
    config.optimizer.schedule = 'constant'
    # Of sgd.
    config.optimizer.momentum = 0.0
    # Of adam.
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    # Operations on training images, in order: ({'name': 'horizontal_flip'}, …). See
    # fmnist_jax/data/augmentation.py.
    config.augmentation = ()

    # float32; bfloat16 (activations and gradients of them; parameters stay float32);
    # float64 (for checks).
    config.precision = 'float32'

    # How it is carried out; what comes out is the same up to rounding.
    # Virtual CPU devices; None for the largest divisor of batch_size within the cores.
    config.num_cpu_devices = config_dict.placeholder(int)
    # Updates a compiled call; None for 1 on a CPU and 128 on an accelerator.
    config.steps_per_call = config_dict.placeholder(int)

    config.checkpoint = ConfigDict()
    # A checkpoint is written after every epoch, and when this long has passed.
    config.checkpoint.every_minutes = 5.0
    # How many of the latest are kept, besides the best.
    config.checkpoint.keep_last = 2

    config.logging = ConfigDict()
    # Seconds between lines of progress where there is no terminal.
    config.logging.every_seconds = 10.0
    return config
