"""Agents: what a user defines, the forms of a turn, the prompts, and the solver that takes turns."""

from .agent import Agent

__all__ = ["Agent"]
