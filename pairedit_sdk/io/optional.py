"""Packages that are imported only by what was asked for: peft and bitsandbytes.

diffusers and transformers import both as soon as they find them installed, which takes longer than
an edit. A process that is nothing but the command line hides them until then, bitsandbytes only
where there is no GPU; see :func:`pairedit_sdk.cli.startup.prepare`. A program that imports this
package is left alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from pairedit_sdk.io.quiet import quiet

#: The precisions in which bitsandbytes holds a transformer's blocks.
QUANTIZED = ("nf4", "int8")


def hide(*names: str) -> None:
    """Let no ``import`` find these packages until :func:`show` is called. What is imported stays.

    Python's own rule: a name that stands for ``None`` in ``sys.modules`` is not there.
    """
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def show(*names: str) -> None:
    """Undo :func:`hide`. Libraries that looked before this go on without them."""
    for name in names:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]


def imported(name: str) -> ModuleType:
    """The package, hidden or not, without what it says of itself on the way."""
    show(name)
    with quiet():
        return import_module(name)
