"""Verifiers: judges of trajectories."""

from .cases import Case
from .execution import Tests
from .function import FunctionVerifier, verifier
from .input_output import InputOutput
from .legality import Legality
from .split import Split

__all__ = ["Case", "FunctionVerifier", "InputOutput", "Legality", "Split", "Tests", "verifier"]
