"""Pages in a real browser as environments: seen as text, acted on by typed actions, forked by replay that is checked."""

from typing import TYPE_CHECKING

from ..core.lazy import lazily

if TYPE_CHECKING:
    from .actions import (
        Action,
        Answer,
        Back,
        Check,
        Click,
        Dialog,
        Drag,
        Fill,
        Find,
        GiveUp,
        Goto,
        Hover,
        Press,
        Read,
        Scroll,
        Select,
        Tab,
        Upload,
        Wait,
        action_schema,
        parse_action,
    )
    from .browser import Browser
    from .container import Container
    from .environment import Outcome, WebEnvironment, pages
    from .filming import film
    from .observation import Observation
    from .policy import Policy
    from .site import Site, World
    from .supply import WebSandboxes
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "actions": """
                Action Answer Back Check Click Dialog Drag Fill Find GiveUp Goto Hover Press Read Scroll Select Tab Upload Wait
                action_schema parse_action
            """,
            "browser": "Browser",
            "container": "Container",
            "environment": "Outcome WebEnvironment pages",
            "filming": "film",
            "observation": "Observation",
            "policy": "Policy",
            "site": "Site World",
            "supply": "WebSandboxes",
        },
    )

__all__ = [
    "Action",
    "Answer",
    "Back",
    "Browser",
    "Check",
    "Click",
    "Container",
    "Dialog",
    "Drag",
    "Fill",
    "Find",
    "GiveUp",
    "Goto",
    "Hover",
    "Observation",
    "Outcome",
    "Policy",
    "Press",
    "Read",
    "Scroll",
    "Select",
    "Site",
    "Tab",
    "Upload",
    "Wait",
    "WebEnvironment",
    "WebSandboxes",
    "World",
    "action_schema",
    "film",
    "pages",
    "parse_action",
]
