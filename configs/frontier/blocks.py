"""For other blocks than those of `five_minutes`, at its size and with its recipe.

    python -m results.frontier ablation-squeeze_excite --workdir=runs/frontier

Rows of results/frontier/rows.py change the model; see results/frontier.md.
"""

from ml_collections import ConfigDict

from configs.frontier import five_minutes


def get_config() -> ConfigDict:
    config = five_minutes.get_config()
    # Fields of a model can be set on the command line where the config has them.
    config.model.expansion = 2
    config.model.squeeze_excite = 0
    return config
