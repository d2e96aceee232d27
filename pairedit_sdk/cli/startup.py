"""What a process that is nothing but the command line does to start quickly."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

from pairedit_sdk.io import optional
from pairedit_sdk.io.threads import wait_politely

#: Of NVIDIA's driver, of AMD's, and of either within WSL.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def prepare() -> None:
    """To be called first of all, before torch is imported."""
    wait_politely(os.environ)
    gc.disable()  # importing makes a million objects that stay; looking through them takes .5 s
    optional.hide("peft")
    if not has_gpu():
        # On a GPU diffusers itself quantises, and looks only once for what it needs for that.
        optional.hide("bitsandbytes")


def has_gpu() -> bool:
    """Whether this machine seems to have a GPU that torch calls cuda, asked without torch."""
    tools = any(shutil.which(name) for name in ("nvidia-smi", "rocm-smi"))
    return tools or any(Path(name).exists() for name in GPU_DEVICES)


def started() -> None:
    """To be called where a command's own work begins: garbage is collected from here on, and what
    has been imported is never looked through again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def ending() -> None:
    """To be called last of all. Python would look for garbage once more, for .8 s."""
    gc.freeze()
