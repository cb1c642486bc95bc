"""What came out of a sweep: `sweep.json`, a table, the winner and a figure.

The way through: each run's `outcomes`, the `points` that the seeds of one config make,
their `labels`, the `table`; `finish` calls them and prints what to do next.
"""

from fmnist_jax.reporting.sweep.finish import finish
from fmnist_jax.reporting.sweep.outcomes import Outcome, read_outcomes, write_outcomes

__all__ = ('Outcome', 'finish', 'read_outcomes', 'write_outcomes')
