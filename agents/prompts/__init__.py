"""The prompts, one file each; `$names` are filled in when they are sent."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template


@cache
def load(name: str) -> Template:
    """Return the prompt in the file `name`.md."""
    return Template(files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8").strip())


def fill(name: str, **values: str) -> str:
    """Return the prompt in the file `name`.md with its `$names` filled in; runs of empty lines become one."""
    lines: list[str] = []
    for line in load(name).substitute(values).splitlines():
        if line.strip() or (lines and lines[-1].strip()):
            lines.append(line.rstrip())
    return "\n".join(lines).strip()
