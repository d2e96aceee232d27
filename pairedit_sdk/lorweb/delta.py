"""What changed from a to a′ as a few tokens of the text stream (delta conditioning).

The router of a basis sees embeddings only as weights of a mix. Here they are content: a small
network reads E(a′) − E(a) and, place by place, how the patch features of a′ differ from those of a,
and gives k embeddings beside the prompt's and a change of its pooled embedding. The model stays
frozen. The idea is that of arXiv 2605.07940; this network is a smaller one.

    h = attention of k learned queries to [W_d Δ_t + W_a f_t(a′) + p_t for every patch t, and E],
    tokens = t_0 + W h,  pooled' = pooled + U mean(h)

The differences alone do not say which colour hair gets, as they depend on what it had; so the
features of a′ are seen beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

HEADS = 4
#: Differences and features are divided by their own size over this many of the first pairs.
MEASURED = 256


@dataclass(frozen=True)
class PairFeatures:
    """What the network sees of pairs.

    Attributes:
        whole: [E(a′) − E(a), E(a′)] with embeddings of length 1, [B, 2, D].
        patches: the same of the patch features, [B, 2, T, F].
    """

    whole: torch.Tensor
    patches: torch.Tensor

    def to(self, device: torch.device) -> PairFeatures:
        """The same elsewhere."""
        return PairFeatures(self.whole.to(device), self.patches.to(device))

    @staticmethod
    def joined(parts: list[PairFeatures]) -> PairFeatures:
        """Several batches as one."""
        return PairFeatures(
            torch.cat([part.whole for part in parts]), torch.cat([part.patches for part in parts])
        )


@dataclass(frozen=True)
class DeltaShape:
    """The sizes of a delta network.

    Attributes:
        tokens: k, embeddings that it gives.
        width: of the network.
        layers: of attention.
        embedding: D, of the image encoder's embeddings.
        patches: T, patches of a picture.
        features: F, of a patch.
        prompt: width of the model's prompt embeddings.
        pooled: width of its pooled embedding, 0 if it takes none.
    """

    tokens: int
    width: int
    layers: int
    embedding: int
    patches: int
    features: int
    prompt: int
    pooled: int


class DeltaNetwork(nn.Module):
    """Pairs to tokens of the text stream; see the module's text.

    Args:
        shape: sizes.
        start: an embedding that all tokens start as, [P].
        seed: of the random start. At first every pair gives the same tokens.
    """

    def __init__(self, shape: DeltaShape, start: torch.Tensor | None = None, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.whole = nn.Linear(2 * shape.embedding, width)
            self.patch = nn.Linear(2 * shape.features, width)
            self.place = nn.Parameter(torch.randn(shape.patches, width) * 0.1)
            self.queries = nn.Parameter(torch.randn(shape.tokens, width))
            self.layers = nn.ModuleList(_Layer(width) for _ in range(shape.layers))
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, shape.prompt)
            self.pooled = nn.Linear(width, shape.pooled) if shape.pooled else None
        self.scales = nn.Parameter(torch.ones(2, 2), requires_grad=False)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.zeros(shape.prompt) if start is None else start)
        if self.pooled is not None:
            nn.init.zeros_(self.pooled.weight)
            nn.init.zeros_(self.pooled.bias)

    @torch.no_grad()
    def measure(self, seen: PairFeatures) -> None:
        """Take the sizes of these pairs' differences and features as 1."""
        for row, values in enumerate((seen.whole, seen.patches)):
            sizes = values.float().square().transpose(0, 1).flatten(1).mean(dim=1).sqrt()
            self.scales[row] = 1 / sizes.clamp(min=1e-6)

    def forward(self, seen: PairFeatures) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens [B, k, P], and the change of the pooled embedding [B, Q] if there is one."""
        whole = (seen.whole * self.scales[0][:, None]).flatten(1)
        patches = seen.patches * self.scales[1][:, None, None]
        places = self.patch(patches.transpose(1, 2).flatten(2)) + self.place
        context = torch.cat([self.whole(whole)[:, None], places], dim=1)
        h = self.queries.expand(len(context), -1, -1)
        for layer in self.layers:
            h = layer(h, context)
        h = self.norm(h)
        pooled = None if self.pooled is None else self.pooled(h.mean(dim=1))
        return self.out(h), pooled

    def scaled(self, seen: PairFeatures, scale: float) -> tuple[torch.Tensor, torch.Tensor | None]:
        """:meth:`forward` with what it says of these pairs made ``scale`` times as large."""
        tokens, pooled = self(seen)
        start = self.out.bias
        if pooled is None:
            return start + scale * (tokens - start), None
        assert self.pooled is not None
        same = self.pooled.bias
        return start + scale * (tokens - start), same + scale * (pooled - same)


class _Layer(nn.Module):
    """Attention of the queries to the pair and to each other, and a feed-forward layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.seen = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.keys = nn.Linear(width, 2 * width)
        self.after = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, h: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        own = self.before(h)
        keys, values = self.keys(torch.cat([self.seen(context), own], dim=1)).chunk(2, dim=-1)
        query = _heads(self.query(own))
        found = F.scaled_dot_product_attention(query, _heads(keys), _heads(values))
        h = h + self.mix(found.transpose(1, 2).flatten(2))
        result: torch.Tensor = h + self.narrow(F.gelu(self.wide(self.after(h))))
        return result


def _heads(x: torch.Tensor) -> torch.Tensor:
    """[B, T, width] as [B, heads, T, width / heads]."""
    return torch.unflatten(x, -1, (HEADS, -1)).transpose(1, 2)


def network_of(shape: DeltaShape, tensors: Mapping[str, torch.Tensor]) -> DeltaNetwork:
    """The network with these weights, as ``state_dict`` names them.

    Raises:
        ValueError: others than it has, other shapes, or numbers that are not finite.
    """
    with torch.device("meta"):
        network = DeltaNetwork(shape)
    wanted = network.state_dict()
    for name in {*wanted, *tensors}:
        if name not in tensors or name not in wanted:
            raise ValueError(f"delta/{name} is {'missing' if name in wanted else 'not known'}")
        given = tensors[name]
        if given.shape != wanted[name].shape or not given.is_floating_point():
            raise ValueError(f"delta/{name} is {list(given.shape)}")
        if not bool(given.isfinite().all()):
            raise ValueError(f"delta/{name} is not of finite numbers")
    network.load_state_dict({n: t.float() for n, t in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)
