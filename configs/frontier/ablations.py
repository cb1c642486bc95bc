"""What the parts of a recipe are measured on: tiny.py without any of them, and shorter.

    python -m results.frontier --workdir=runs/frontier

Rows of results/frontier_rows.py put one part back each; see results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import tiny


def get_config() -> ConfigDict:
    config = tiny.get_config()
    config.num_epochs = 20
    config.optimizer.schedule = 'one_cycle'
    config.optimizer.warmup = '0 steps'
    config.optimizer.weight_decay_on = 'kernels'
    config.optimizer.sam_radius = None
    config.ema_decay = None
    config.label_smoothing = 0.0
    config.gradient_accumulation = 1
    config.augmentation = ()
    config.distillation.teachers = ()
    # Fields of a model can be set on the command line where the config has them.
    config.model.block = 'conv'
    config.model.stochastic_depth = 0.0
    return config
