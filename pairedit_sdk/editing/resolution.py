"""Warnings of what an edit was not made for: a resolution far above its own, or a huge scale."""

from __future__ import annotations

import logging

from pairedit_sdk.edits.edit import EditStack

#: An edit is lost above this many times the side that it was learned at. On the built-in model the
#: shipped hat is put on 8 of 8 faces at 128 pixels, on 1 at 160 and on none from 192 on.
FAR = 1.2

#: Beyond this scale of an edit a picture falls apart.
EXTREME = 5.0

_log = logging.getLogger("pairedit_sdk")
_noted: set[tuple[str, int, int]] = set()


def warn_if_far_above(edits: EditStack, resolution: int) -> None:
    """Log a warning, once for each edit and resolution, where little of an edit will be left.

    Args:
        edits: the edits to be applied.
        resolution: side in pixels of a square with the area at which the model sees the picture.
    """
    for edit, scale in edits.parts:
        own = edit.info.resolution
        if not own or scale == 0 or resolution <= FAR * own:
            continue
        if (key := (edit.name, own, resolution)) not in _noted:
            _noted.add(key)
            _log.warning(
                "Edit %s was learned at a resolution of %d, and the picture is seen at %d: little "
                "of the edit may be left. Leave out the resolution, or train the edit at a higher "
                "one.",
                edit.name,
                own,
                resolution,
            )


def warn_if_extreme(edits: EditStack) -> None:
    """Log a warning where a scale is beyond :data:`EXTREME`, such as 75 for 75 %.

    Args:
        edits: that are to be applied.
    """
    for edit, scale in edits.parts:
        if abs(scale) > EXTREME:
            _log.warning(
                "Edit %s is asked for at scale %g: 1 is what its pairs show, and far beyond that a "
                "picture falls apart. 75 %% is 0.75.",
                edit.name,
                scale,
            )
