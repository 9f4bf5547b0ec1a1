"""Where an agent's programs run: isolated work spaces that can be kept, restored and forked."""

from typing import TYPE_CHECKING

from ..core.lazy import lazily

if TYPE_CHECKING:
    from .auto import Auto
    from .docker import Docker
    from .host_files import write_tree
    from .local import Local
    from .mounts import Mount
    from .network import Allow
    from .service import Service
    from .store import Store
    from .unprotected import Unprotected
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "auto": "Auto",
            "docker": "Docker",
            "host_files": "write_tree",
            "local": "Local",
            "mounts": "Mount",
            "network": "Allow",
            "service": "Service",
            "store": "Store",
            "unprotected": "Unprotected",
        },
    )

__all__ = ["Allow", "Auto", "Docker", "Local", "Mount", "Service", "Store", "Unprotected", "write_tree"]
