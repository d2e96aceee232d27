"""Keeping other libraries' chatter away from users who cannot do anything about it."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

#: Told once, on import or loading: a missing optional kernel for 4-bit layers on a CPU, and image
#: processors that fall back because torchvision, which nothing here uses, is not installed.
_CHATTY = ("bitsandbytes.backends.cpu.ops", "transformers", "diffusers")


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block those loggers say errors only, and diffusers does not warn of its own code.

    transformers is not imported for this: who loads something of it within has imported it before.
    """
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        # It sets its own level when it is first used, which would undo what is set here.
        transformers_logging.get_logger("transformers")
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Chroma's own file takes a class by a name that diffusers will drop.
            warnings.filterwarnings("ignore", "`FluxPosEmbed` is deprecated", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def no_bars() -> Iterator[None]:
    """Within the block transformers and diffusers show no progress bars for reading local files."""
    loaded = [name for name in ("diffusers", "transformers") if name in sys.modules]
    reporting = [import_module(f"{name}.utils.logging") for name in loaded]
    shown = [each for each in reporting if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        for each in shown:
            each.enable_progress_bar()


def silence_casts() -> None:
    """bitsandbytes says in every pass of every 8-bit layer that it computes in fp16."""
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
