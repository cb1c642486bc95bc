"""What most parts of a recipe are measured on: `compact`, plainly trained.

    taskset -c 0 python -m results.frontier ablation-base --workdir=runs/frontier

Rows of results/frontier/rows.py add a part each, or change one; see
results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = 'compact'
    # Fields of a model can be set on the command line where the config has them.
    config.model.block = 'conv'
    config.model.stochastic_depth = 0.0
    config.num_epochs = 20
    config.ema_decay = None
    return config
