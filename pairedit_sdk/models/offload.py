"""Which of a model's parts are on its device, and which wait in main memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pairedit_sdk.lora.adapters import is_bare

HOME = torch.device("cpu")


class Placement:
    """A model's transformer and autoencoder on one device.

    The transformer is moved there when it is first used, so that what comes before a training
    (text encoders, encoding) has the device to itself. From then on the autoencoder is there only
    while it encodes or decodes, unless it is to stay (``keep_vae``).

    Args:
        device: where things are computed.
        transformer: in main memory, or on the device where quantising has put it.
        vae: in main memory.
        offload: let the transformer make room while another part is used. It stays while it
            carries a LoRA: a training's optimiser and the two branches share its tensors.
    """

    def __init__(
        self, device: torch.device, transformer: nn.Module, vae: nn.Module, *, offload: bool
    ) -> None:
        self.device, self.offload, self.keep_vae = device, offload, False
        # There is nowhere to go from main memory, and nothing to carry on the meta device.
        self._moves = device.type not in ("cpu", "meta")
        self._transformer, self._vae = transformer, vae
        self._ready = _is_on(transformer, device)
        self._vae_ready = _is_on(vae, device)

    def transformer(self) -> nn.Module:
        """The transformer, on the device."""
        if not self._ready:
            if not self.keep_vae:
                self._vae_home()
            _move(self._transformer, self.device)
            self._ready = True
        return self._transformer

    @contextmanager
    def vae(self) -> Iterator[nn.Module]:
        """The autoencoder, on the device within the block."""
        self._transformer_home()
        if not self._vae_ready:
            _move(self._vae, self.device)
            self._vae_ready = True
        try:
            yield self._vae
        finally:
            if self._ready and not self.keep_vae:
                self._vae_home()

    def make_room(self) -> None:
        """Before the text encoders come."""
        self._transformer_home()
        self._vae_home()

    def _transformer_home(self) -> None:
        if self._moves and self.offload and self._ready and is_bare(self._transformer):
            _move(self._transformer, HOME)
            self._ready = False

    def _vae_home(self) -> None:
        if self._moves and self._vae_ready:
            _move(self._vae, HOME)
            self._vae_ready = False


def _is_on(module: nn.Module, device: torch.device) -> bool:
    where = next(module.parameters()).device
    return where.type == device.type and device.index in (None, where.index)


def _move(module: nn.Module, device: torch.device) -> None:
    module.to(device)
    if device == HOME and torch.cuda.is_available():
        torch.cuda.empty_cache()
