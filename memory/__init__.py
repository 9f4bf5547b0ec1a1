"""What is kept from one run for the next ones: solved tasks and steps that led on, found again by their words."""

from .lessons import lessons, said
from .sites import SiteMemories, SiteMemory
from .store import Store

__all__ = ["SiteMemories", "SiteMemory", "Store", "lessons", "said"]
