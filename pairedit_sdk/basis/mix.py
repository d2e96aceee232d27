"""What an analogy is found to mean: a sum of edits, and why."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pairedit_sdk.basis.index import Index
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.library import EditLibrary

#: So many edits are mixed unless more are asked for.
TOP = 3
#: A part of the mix that is smaller than this changes nothing that could be seen.
LEAST = 0.02


class EditMix(EditStack):
    """What an analogy is found to mean: a sum of edits, and why.

    On a picture its edits are merged by default: as one LoRA they cost what one edit costs.

    Attributes:
        similarities: of every edit that was considered, by its name, the highest first.
        known: whether the analogy is like anything in the basis, and the mix does anything.
        threshold: the similarity below which it is not.
    """

    default_mode = "merged"

    def __init__(
        self, parts: Sequence[tuple[Edit, float]], similarities: dict[str, float], threshold: float
    ) -> None:
        super().__init__(parts)
        self.similarities, self.threshold = similarities, threshold
        self.known = not self.is_zero and max(similarities.values()) >= threshold

    def __matmul__(self, scale: float) -> EditMix:
        return EditMix(super().__matmul__(scale).parts, self.similarities, self.threshold)

    @property
    def coefficients(self) -> dict[str, float]:
        """The scale of every edit in the mix."""
        return {edit.name: scale for edit, scale in self.parts}

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        nearest_ones = ", ".join(f"{n} {s:.2f}" for n, s in list(self.similarities.items())[:3])
        if not self.known:
            return (
                f"This analogy is like none of the edits (nearest: {nearest_ones}; "
                f"edits of this basis reach {self.threshold:.2f})."
            )
        mixed = " + ".join(f"{name} {scale:.2f}" for name, scale in self.coefficients.items())
        return f"{mixed} (similarities: {nearest_ones})."


def mix_of(
    library: EditLibrary, index: Index, given: torch.Tensor, coefficients: torch.Tensor
) -> EditMix:
    """The mix of the edits that have a coefficient, the largest first.

    Args:
        library: that holds the edits.
        index: of the basis.
        given: the analogy's E(a), E(a′) and E(b), concatenated, [3 D].
        coefficients: one for each edit of the index, [N].

    Raises:
        EditError: the file of an edit is not there, or damaged.
    """

    def load(number: int) -> Edit:
        return Edit.load(library.file(index.names[number]))

    active = (coefficients >= LEAST).nonzero().flatten().tolist()
    active.sort(key=lambda i: -float(coefficients[i]))
    parts = [(load(i), float(coefficients[i])) for i in active]
    # The threshold is one of plain similarity, whatever router makes the choice.
    plain = index.plain.similarities(given)
    best = plain.topk(min(len(plain), max(len(active), TOP))).indices.tolist()
    considered = sorted({*active, *best}, key=lambda i: -float(plain[i]))
    return EditMix(
        parts or [(load(best[0]), 0.0)],
        {index.names[i]: float(plain[i]) for i in considered},
        index.threshold,
    )
