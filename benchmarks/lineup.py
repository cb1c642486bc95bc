"""Who takes part, under which names."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks.process import Entrant
from benchmarks.summary import MATRIX_PRODUCT, OURS
from fmnist_jax.errors import unknown_name

_FOLDER = 'benchmarks.competitors'
KERAS = 'keras'
# To add a peer, write a `competitors.Competitor` and add a line.
PEERS: Mapping[str, str] = MappingProxyType(
    {
        'torch': f'{_FOLDER}.torch:Eager',
        'torch_channels_last': f'{_FOLDER}.torch:ChannelsLast',
        'torch_compile': f'{_FOLDER}.torch:Compiled',
        KERAS: f'{_FOLDER}.keras:Fit',
    }
)


def entrants(peers: Sequence[str], keras_python: str) -> list[Entrant]:
    """This project, the peers of these names, and the matrix product.

    Args:
      peers: of `PEERS`.
      keras_python: the interpreter for Keras.

    Raises:
      UserError: there is no such peer.
    """
    chosen = [Entrant(OURS, f'{_FOLDER}.ours:Ours')]
    for name in dict.fromkeys(peers):
        if name not in PEERS:
            raise unknown_name('peer', name, PEERS)
        python = sys.executable
        install = "install the extra 'bench' (python -m benchmarks.peers --help)"
        if name == KERAS:
            # Processes start in the checkout, whatever folder this one is in.
            python = str(Path(keras_python).expanduser().absolute())
            install = 'name an interpreter that has Keras and TensorFlow with '
            install += '--keras_python (python -m benchmarks.peers --help)'
        chosen.append(Entrant(name, PEERS[name], python, install))
    return [*chosen, Entrant(MATRIX_PRODUCT, f'{_FOLDER}.matrix_product:MatrixProduct')]
