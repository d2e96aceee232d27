"""A pass of a model on torch's meta device: what memory it would take, and how much arithmetic."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Pass:
    """What a pass needs on top of what was there before it.

    Args:
        peak: bytes of tensors that are alive at once.
        flops: floating-point operations, a multiplication and an addition being two.
    """

    peak: int
    flops: int


def measured(work: Callable[[], object], known: Iterable[torch.Tensor]) -> Pass:
    """Run ``work``, whose tensors are on the meta device and hold nothing.

    Args:
        work: e.g. a forward and a backward pass.
        known: tensors that were there before, such as weights; what ``work`` makes is counted.
    """
    ledger = _Ledger(known)
    with _flash_attention(), ledger:
        work()
    return Pass(ledger.peak, ledger.flops)


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that are alive, and the arithmetic.

    torch's own FlopCounterMode keeps tensors alive that gradient checkpointing lets go.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = [tensor.untyped_storage() for tensor in known]
        self._seen = {storage._cdata for storage in self._kept}
        self._now = self.peak = self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        counted = flop_registry.get(func._overloadpacket)
        if counted is not None:
            self.flops += int(counted(*args, **given, out_val=out))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size


@contextmanager
def _flash_attention() -> Iterator[None]:
    """Attention as it is computed on a real device, without the matrix of all pairs of tokens.

    On the meta device torch would take the one implementation that has it.
    """
    ordinary = functional.scaled_dot_product_attention

    def flash(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if query.device.type != "meta":
            return ordinary(query, key, value, attn_mask, *args, **kwargs)
        if attn_mask is None:
            out = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)
        else:  # the memory-efficient one takes a mask, one for all heads
            mask = attn_mask.to(query.dtype).expand(*query.shape[:-1], key.shape[-2])
            out = torch.ops.aten._scaled_dot_product_efficient_attention(
                query, key, value, mask, torch.is_grad_enabled()
            )
        attended: torch.Tensor = out[0]
        return attended

    functional.scaled_dot_product_attention = flash
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = ordinary
