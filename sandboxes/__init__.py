"""Where an agent's programs run: isolated work spaces that can be kept, restored and forked."""

from .docker import Docker

__all__ = ["Docker"]
