"""Tools: typed functions that a model can call, and the built-in ones."""

from .browse import browse
from .for_good import for_good
from .people import ask_user
from .programs import python, session, shell
from .python_source import rewrite
from .thinking import think
from .tool import Tool, Toolset, tool
from .workspace import files

__all__ = [
    "Tool",
    "Toolset",
    "ask_user",
    "browse",
    "files",
    "for_good",
    "python",
    "rewrite",
    "session",
    "shell",
    "think",
    "tool",
]
