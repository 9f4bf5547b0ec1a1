"""Where an agent's programs run: isolated work spaces that can be kept, restored and forked."""

from .auto import Auto
from .docker import Docker
from .host_files import write_tree
from .local import Local
from .store import Store

__all__ = ["Auto", "Docker", "Local", "Store", "write_tree"]
