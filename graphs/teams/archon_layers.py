"""What the layers of an Archon do, by the kind of their components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..stage import Stage
from .archon_choosing import Checking, Ranking, Testing
from .archon_making import Making
from .archon_saying import Criticising, TestWriting
from .archon_work import ArchonState, Work
from .components import Kind, Layer

_WORKS: Mapping[Kind, type[Work]] = {
    "generate": Making,
    "fuse": Making,
    "rank": Ranking,
    "criticise": Criticising,
    "check": Checking,
    "write_tests": TestWriting,
    "run_tests": Testing,
}


async def do_layer(number: int, layers: Sequence[Layer], stage: Stage, state: ArchonState) -> ArchonState:
    """Do the work of a layer; return what it changes of the state.

    Args:
        number: of the layer, from 1.
        layers: all layers of the Archon.
        stage: where it works.
        state: as the layers before left it.
    """
    return await _WORKS[layers[number - 1][0].kind](number, layers, stage, state).done()
