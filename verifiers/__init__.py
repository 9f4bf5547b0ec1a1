"""Verifiers: judges of trajectories."""

from .execution import Tests
from .function import FunctionVerifier, verifier

__all__ = ["FunctionVerifier", "Tests", "verifier"]
