"""Where an agent's programs run: isolated work spaces that can be kept, restored and forked."""

from .auto import Auto
from .docker import Docker
from .host_files import write_tree
from .local import Local
from .mounts import Mount
from .network import Allow
from .service import Service
from .store import Store
from .unprotected import Unprotected

__all__ = ["Allow", "Auto", "Docker", "Local", "Mount", "Service", "Store", "Unprotected", "write_tree"]
