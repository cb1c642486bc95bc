"""A grid of configs and seeds: `--grid` flags in, the config of each member out.

`overrides` are dotted config fields and the values they have at a point of the grid; a
member is a point with one of its seeds.
"""

from fmnist_jax.grid.members import Member, make_members
from fmnist_jax.grid.names import canonical, short_names
from fmnist_jax.grid.parse import Axis, parse_grid

__all__ = ('Axis', 'Member', 'canonical', 'make_members', 'parse_grid', 'short_names')
