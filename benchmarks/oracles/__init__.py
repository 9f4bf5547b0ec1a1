"""Scripts that do the tasks of MiniWoB++ as they should be done, through the references and actions that an agent has.

They may read off the document what a person would see, such as colours; they act as agents do. Tasks without one ask for what
typed actions do not say (points of a drawing, text marked by the pointer) or for reactions within fractions of a second.
"""

from branchwise.web.tasks import Oracle

from . import clicking, dragging, forms, inbox, reading, sites

ORACLES: dict[str, Oracle] = {
    **clicking.ORACLES,
    **dragging.ORACLES,
    **forms.ORACLES,
    **inbox.ORACLES,
    **reading.ORACLES,
    **sites.ORACLES,
}

__all__ = ["ORACLES"]
