"""Medians and ratios, from the raw measurements of one workload.

A measurement is `{'steps': …, 'seconds': …}`; a round holds one of each competitor,
under its name, and one of the matrix product.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OURS = 'ours'
MATRIX_PRODUCT = 'matrix_product'

Round = Mapping[str, Mapping[str, float]]


def summarize(
    rounds: Sequence[Round],
    batch_size: int,
    flops_per_image: float,
    flops_per_product: float,
) -> dict[str, Any]:
    """What the rounds come to.

    Returns:
      `images_per_second`, each competitor's median; `best_peer`, the name of the peer
      of the highest median; `ratio_to_best_peer`, `median` and `lower_quartile` over
      the rounds (both are None without peers); `matrix_product_flops_per_second`, its
      median; `useful_fraction`, the median over the rounds of this project's useful
      operations a second as a fraction of that round's matrix product's.
    """
    names = [name for name in rounds[0] if name != MATRIX_PRODUCT]
    speeds = {
        name: np.array([batch_size * per_second(r[name]) for r in rounds])
        for name in names
    }
    medians = {name: float(np.median(speeds[name])) for name in names}
    peers = [name for name in names if name != OURS]
    products = np.array(
        [flops_per_product * per_second(r[MATRIX_PRODUCT]) for r in rounds]
    )
    fractions = speeds[OURS] * flops_per_image / products
    return {
        'images_per_second': medians,
        'best_peer': max(peers, key=medians.get, default=None),
        'ratio_to_best_peer': _ratio(speeds[OURS], [speeds[name] for name in peers]),
        'matrix_product_flops_per_second': float(np.median(products)),
        'useful_fraction': float(np.median(fractions)),
    }


def per_second(measurement: Mapping[str, float]) -> float:
    """Steps a second."""
    return measurement['steps'] / measurement['seconds']


def _ratio(ours: np.ndarray, peers: Sequence[np.ndarray]) -> dict[str, float] | None:
    """Ours to whichever peer was the fastest in the same round."""
    if not peers:
        return None
    ratios = ours / np.max(peers, axis=0)
    return {
        'median': float(np.median(ratios)),
        'lower_quartile': float(np.quantile(ratios, 0.25)),
    }


def largest_difference(losses: Sequence[float], reference: Sequence[float]) -> float:
    """The largest relative difference of any two losses of the same step.

    NaN if there is one among them.
    """
    losses, reference = np.asarray(losses), np.asarray(reference)
    return float(np.max(np.abs(losses - reference) / np.abs(reference)))
