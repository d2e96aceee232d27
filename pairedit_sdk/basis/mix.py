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
        thresholds: of the same edits, the similarity from which an analogy is one of theirs.
        known: whether the analogy is like anything in the basis, and the mix does anything.
        opposite: the edit that the analogy undoes, if it is like none.
    """

    default_mode = "merged"

    def __init__(
        self,
        parts: Sequence[tuple[Edit, float]],
        similarities: dict[str, float],
        thresholds: dict[str, float],
    ) -> None:
        super().__init__(parts)
        self.similarities, self.thresholds = similarities, thresholds
        found = any(similarity >= thresholds[name] for name, similarity in similarities.items())
        self.known = not self.is_zero and found
        lowest = min(similarities, key=similarities.__getitem__)
        undone = not self.known and similarities[lowest] <= -thresholds[lowest]
        self.opposite = lowest if undone else None

    def __matmul__(self, scale: float) -> EditMix:
        return EditMix(super().__matmul__(scale).parts, self.similarities, self.thresholds)

    def __add__(self, other: Edit | EditStack) -> EditMix:
        """The mix with more: instructions and shown changes act beside its one LoRA."""
        return EditMix(super().__add__(other).parts, self.similarities, self.thresholds)

    @property
    def threshold(self) -> float:
        """The threshold of the edit that is most like the analogy."""
        return self.thresholds[max(self.similarities, key=self.similarities.__getitem__)]

    @property
    def coefficients(self) -> dict[str, float]:
        """The scale of every edit in the mix."""
        return {edit.name: scale for edit, scale in self.parts}

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        most = list(self.similarities.items())[:3]
        nearest_ones = ", ".join(f"{name} {similarity:.2f}" for name, similarity in most)
        if self.opposite is not None:
            return (
                f"This analogy is {self.opposite} backwards (similarity "
                f"{self.similarities[self.opposite]:.2f}), and like none of the edits forwards "
                f"(nearest: {nearest_ones})."
            )
        if not self.known:
            return (
                f"This analogy is like none of the edits (nearest: {nearest_ones}; "
                f"{most[0][0]} is found from {self.threshold:.2f} on)."
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
    # The thresholds are of plain similarity, whatever router makes the choice.
    plain = index.plain.similarities(given)
    best = plain.topk(min(len(plain), max(len(active), TOP))).indices.tolist()
    least = int(plain.argmin())
    undone = {least} if plain[least] <= -index.thresholds[least] else set()
    considered = sorted({*active, *best, *undone}, key=lambda i: -float(plain[i]))
    return EditMix(
        parts or [(load(best[0]), 0.0)],
        {index.names[i]: float(plain[i]) for i in considered},
        {index.names[i]: float(index.thresholds[i]) for i in considered},
    )
