from __future__ import annotations

from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.studio.chosen_pairs import (
    EXAMPLE,
    FOLDER,
    SHOWN,
    UPLOADED,
    check_chosen,
    chosen,
    example_names,
)
from pairedit_sdk.studio.trainings import Trainings

GLASSES = examples_dir() / "pairs" / "glasses"


def uploaded() -> tuple[list[Path], list[Path]]:
    return sorted((GLASSES / "source").iterdir()), sorted((GLASSES / "target").iterdir())


def test_uploaded_pictures_are_pairs_and_kept_as_a_folder(library: Path) -> None:
    found = chosen(UPLOADED, *uploaded(), "", "", local=False)
    assert found.pairs().names == ["1", "2", "3"]
    kept = found.kept("glasses", Trainings(library))
    assert kept == library / ".studio" / "pairs" / "glasses"
    one, two = ((folder / "source" / "1.png").read_bytes() for folder in (kept, GLASSES))
    assert one == two


def test_an_example_is_read_where_it_is(library: Path) -> None:
    assert {"glasses", "smile", "hat"} <= set(example_names())
    found = chosen(EXAMPLE, [], [], "glasses", "", local=False)
    assert found.kept("glasses", Trainings(library)) == GLASSES
    with pytest.raises(UsageError, match=r"Did you mean glasses"):
        chosen(EXAMPLE, [], [], "glases", "", local=True)
    with pytest.raises(UsageError, match="no example pairs"):
        chosen(EXAMPLE, [], [], "../pairs/glasses", "", local=True)


def test_a_folder_is_for_somebody_on_this_machine_alone() -> None:
    assert chosen(FOLDER, [], [], "", str(GLASSES), local=True).pairs().names == ["1", "2", "3"]
    with pytest.raises(UsageError, match="can be named there alone"):
        chosen(FOLDER, [], [], "", str(GLASSES), local=False)
    with pytest.raises(InputError, match="No folder"):
        chosen(FOLDER, [], [], "", " ", local=True)


def test_good_pairs_are_said_to_be_so_and_drawn_side_by_side() -> None:
    found = check_chosen(chosen(EXAMPLE, [], [], "glasses", "", local=False).pairs())
    assert found.worth_training
    assert found.sentence == "Worth training: 3 pairs."
    assert [one.report.verdict for one in found.pairs] == ["good"] * 3
    assert found.pairs[0].caption.startswith("1: good, ")
    size = found.pairs[0].picture.size
    assert size[0] == 2 * size[1] <= SHOWN


def test_a_bad_pair_has_its_reason_and_the_set_is_not_worth_it() -> None:
    one, two = uploaded()
    found = check_chosen(chosen(UPLOADED, [one[0]], [one[0]], "", "", local=False).pairs())
    assert not found.worth_training
    assert found.sentence == "Not worth training: 1 of 1 pair cannot be used as it is."
    assert "the same picture" in found.pairs[0].sentence
    few = check_chosen(chosen(UPLOADED, [one[0]], [two[0]], "", "", local=False).pairs())
    assert few.sentence.endswith("Which side is before takes three pairs to be told.")


@pytest.mark.parametrize("data", [b"no picture", (GLASSES / "source" / "1.png").read_bytes()[:500]])
def test_a_picture_that_cannot_be_read_is_called_by_its_name_alone(
    tmp_path: Path, data: bytes
) -> None:
    (one, *_), (two, *_) = uploaded()
    file = tmp_path / one.name
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"^The before picture '1.png' is ") as caught:
        chosen(UPLOADED, [file], [two], "", "", local=False).pairs()
    assert str(tmp_path) not in str(caught.value)
