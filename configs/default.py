"""Every field of a config, with its default. Others import this and change a few.

Any field can be changed on the command line: `--config.optimizer.learning_rate=0.05`.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Seed of everything random: initial weights, order of examples, augmentation.
    config.seed = 0

    _add_model_and_data(config)
    _add_training(config)
    _add_optimizer(config)
    _add_execution(config)
    return config


def _add_model_and_data(config: ConfigDict) -> None:
    config.model = ConfigDict()
    # A registered name (fmnist_jax/models/__init__.py) or `package.module:Class`. The
    # model's fields can be set beside it: config.model.features = 16.
    config.model.name = 'tinyvgg'
    # The work folder of another run, whose best checkpoint's parameters to start from;
    # layers of other shapes are drawn fresh, and named. None to draw all.
    config.init_from = config_dict.placeholder(str)

    config.data = ConfigDict()
    # `fashion_mnist`, or with idx_dir any name for data of your own.
    config.data.name = 'fashion_mnist'
    # Where data are prepared, once; shared by all runs.
    config.data.data_dir = '~/.cache/fmnist_jax/data'
    # A folder with the four IDX files (.gz or not); None to fetch them.
    config.data.idx_dir = config_dict.placeholder(str)
    # Of data of your own, a name for each label from 0: ('cat', 'dog'). None where they
    # are known, or to number the classes, up to the largest label.
    config.data.class_names = config_dict.placeholder(tuple)
    # Splits in TFDS's syntax, https://www.tensorflow.org/datasets/splits. Validation
    # chooses the best checkpoint; test is for the end.
    config.data.train_split = 'train[:55000]'
    config.data.validation_split = 'train[55000:]'
    config.data.test_split = 'test'
    # Pixels are divided by 255, then (pixel - mean) / std: a number each, or a tuple of
    # one a channel (as an object, a field can take either).
    config.data.mean = config_dict.FieldReference(0.0, field_type=object)
    config.data.std = config_dict.FieldReference(1.0, field_type=object)


def _add_training(config: ConfigDict) -> None:
    # Examples an update, over all devices. Must divide evenly over those used.
    config.batch_size = 32
    # Passes over the training split; each leaves out the examples after its last full
    # batch, others each time.
    config.num_epochs = 10
    # Examples a call when evaluating; every example counts once.
    config.eval_batch_size = 1000
    # Loss and accuracy on the training split: `running`, over the epoch while the
    # weights change (free); or `after_epoch`, by a pass over the split after it, in
    # evaluation mode and without augmentation, as validation is measured.
    config.train_metrics = 'running'

    # The share of each label that is spread evenly over all classes, in what is
    # minimised; the losses reported are without.
    config.label_smoothing = 0.0

    # Weights and running averages are averaged over the updates, and validation and
    # whoever reads a checkpoint use the average: after each update it is decay of the
    # old one (less in the first updates) and the rest new. None for without.
    config.ema_decay = config_dict.placeholder(float)

    # An update's batch is worked on in so many parts, one after another, for a smaller
    # memory; each part is normalised (BatchNorm) by itself.
    config.gradient_accumulation = 1

    config.distillation = ConfigDict()
    # Knowledge distillation (https://arxiv.org/abs/1503.02531): work folders of trained
    # models, whose probabilities for the same augmented images are to be met, several
    # averaged; () for none; of several processes each reads them. The loss is
    # (1 - weight) times that of the labels, and weight * temperature ** 2 times the
    # divergence from the teachers, both softened.
    config.distillation.teachers = ()
    config.distillation.weight = 0.5
    config.distillation.temperature = 1.0

    # Operations on training images, in order: ({'name': 'horizontal_flip'}, …). See
    # fmnist_jax/data/augmentation/.
    config.augmentation = ()

    # 0: every training image is changed so, anew in each epoch. k: an epoch has each
    # image as it is, and k copies of it, each changed anew.
    config.augmented_copies = 0

    # float32; bfloat16 (activations and gradients of them; parameters stay float32);
    # float64 (for checks).
    config.precision = 'float32'


def _add_optimizer(config: ConfigDict) -> None:
    config.optimizer = ConfigDict()
    # sgd, nesterov, adam, adamw or muon.
    config.optimizer.name = 'sgd'
    # The schedule's peak.
    config.optimizer.learning_rate = 0.1
    # constant; cosine or linear (to 0 at the end); one_cycle (up over 0.3 of the run,
    # then down; momentum stays); exponential (times decay_rate every decay_every,
    # continuously).
    # Durations are in steps, epochs or examples: '500 steps', '0.5 epochs'.
    config.optimizer.schedule = 'constant'
    config.optimizer.decay_rate = 0.9
    config.optimizer.decay_every = '1 epoch'
    # A linear rise to the peak, before the schedule; one_cycle has its own.
    config.optimizer.warmup = '0 steps'
    # Of sgd, nesterov and muon.
    config.optimizer.momentum = 0.0
    # Of adam and adamw, and of what muon leaves to adamw: biases and scales. eps is
    # also added to the norm that muon divides a matrix by.
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    # Of kernels, not of biases and normalisation. adamw and muon take it off the
    # weights, times the learning rate; the others add it, times the weights, to the
    # gradient (L2).
    config.optimizer.weight_decay = 0.0
    # kernels; or all, biases and normalisation too, for comparison with those who do.
    config.optimizer.weight_decay_on = 'kernels'
    # Sharpness-aware minimisation (https://arxiv.org/abs/2010.01412): the gradient is
    # taken this far uphill, which doubles the time an update takes; None for without.
    config.optimizer.sam_radius = config_dict.placeholder(float)
    # A gradient of larger norm, all parameters taken together, is scaled down to this
    # one; None for none.
    config.optimizer.clip_norm = config_dict.placeholder(float)


def _add_execution(config: ConfigDict) -> None:
    # How it is carried out; what comes out is the same up to rounding.
    # Virtual CPU devices; None for the largest divisor of batch_size within the cores.
    config.num_cpu_devices = config_dict.placeholder(int)
    # Updates a compiled call; None for 128 on an accelerator, and on a CPU for those of
    # 1024 examples, or 1 if the model's convolutions are XLA's own.
    config.steps_per_call = config_dict.placeholder(int)

    config.checkpoint = ConfigDict()
    # A checkpoint is written after every epoch, and when this long has passed; None for
    # after every epoch alone.
    config.checkpoint.every_minutes = 5.0
    # How many of the latest are kept, besides the best.
    config.checkpoint.keep_last = 2

    config.logging = ConfigDict()
    # Seconds between lines of progress where there is no terminal.
    config.logging.every_seconds = 10.0
