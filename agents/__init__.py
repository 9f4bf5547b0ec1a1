"""Agents: what a user defines, the forms of a turn, the prompts, and the solver that takes turns."""

from .agent import Agent
from .planner import Plan, Planner
from .spawning import Spawn
from .web_agent import web

__all__ = ["Agent", "Plan", "Planner", "Spawn", "web"]
