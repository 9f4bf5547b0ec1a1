"""From `file.py:agent` to an `Agent`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from ..agents import Agent
from ..core.errors import BranchwiseError, UsageError
from .web import WebRun


def load_agent(source: str) -> tuple[Agent, str]:
    """Load the agent that `file.py:name` names; without a name, the file's only agent. That of `run --url` has no file.

    Returns:
        The agent, and the source with an absolute path and the name.

    Raises:
        UsageError: no such file, the file fails to run, or it has no such agent.
    """
    if (web := WebRun.of_source(source)) is not None:
        return web.agent(), web.source
    file, _, name = source.partition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {file!r}; give the agent as file.py:name")
    agents = {key: value for key, value in vars(_run(path)).items() if isinstance(value, Agent)}
    known = ", ".join(agents) or "none"
    if not name:
        if len(agents) != 1:
            raise UsageError(f"{file} defines {len(agents)} agents ({known}); say which: {file}:name")
        name = next(iter(agents))
    if name not in agents:
        raise UsageError(f"{file} defines no agent {name!r}; it has: {known}")
    return agents[name], f"{path}:{name}"


def _run(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"_branchwise_agent_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BranchwiseError as error:
        raise UsageError(f"{path.name}, line {_line(error, path)}: {error}") from error
    except Exception as error:
        raise UsageError(f"{path.name}, line {_line(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _line(error: Exception, path: Path) -> int | str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return next((line for line in reversed(lines) if line is not None), "?")
