"""The learning-rate range test: one run whose learning rate rises exponentially.

Smith (2015), "Cyclical Learning Rates for Training Neural Networks",
https://arxiv.org/abs/1506.01186. There the rate rises linearly; an exponential rise
gives every magnitude its share, as in fastai's `lr_find`,
https://docs.fast.ai/callback.schedule.html.
"""

import collections
import dataclasses
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import Float
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import ProgressReport, log
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.reporting.range_test import READINGS, Curve, Suggestion, suggest
from fmnist_jax.training import experiment as experiment_lib
from fmnist_jax.training import provenance
from fmnist_jax.training.checkpoint import Checkpoints
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.program import Program
from fmnist_jax.training.start import find_start
from fmnist_jax.training.state import TrainState, num_parameters
from fmnist_jax.training.step import Progress
