"""Edits to the Hub and back, with the real huggingface_hub and a stand-in of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError, HubError, PairEditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.sharing.hub import pull, push

# huggingface_hub's own, in its upload by LFS.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def _edit(name: str = "glasses", **about: Any) -> Edit:
    generator = torch.Generator().manual_seed(len(name))
    layer = LoraLayer(torch.randn(2, 8, generator=generator), torch.randn(8, 2))
    about = {"base": "black-forest-labs/FLUX.1-dev", "architecture": "flux-1-dev", **about}
    return Edit({"transformer_blocks.0.attn.to_q": layer}, EditInfo(name, rank=2, **about))


@pytest.fixture
def saved(library: Path) -> Path:
    path = _edit(pairs=["anna", "ben"], unit_scale=1.25, licence="CC0").save(
        library / "glasses.safetensors"
    )
    Image.new("RGB", (30, 10), "red").save(library / "glasses.png")
    return path


def test_there_and_back_bit_for_bit(hub, saved: Path, tmp_path: Path) -> None:
    pushed = push(saved, "me/specs", message="The first")
    assert (pushed.repo_id, pushed.url) == ("me/specs", f"{hub.url}/me/specs")
    assert pushed.files == ["README.md", "glasses.png", "glasses.safetensors"]
    repo = hub.repos["me/specs"]
    assert (repo.private, repo.messages) == (False, ["The first"])
    assert pushed.commit == repo.commits[-1][0]
    assert repo.files["glasses.safetensors"] == saved.read_bytes()
    assert len(hub.stored) == 2  # the edit and its picture went by LFS, the page in the commit

    other = tmp_path / "other"
    pulled = pull("me/specs", other)
    assert pulled.path == other / "glasses.safetensors"
    assert pulled.path.read_bytes() == saved.read_bytes()
    assert pulled.preview == other / "glasses.png"
    assert pulled.preview.read_bytes() == saved.with_suffix(".png").read_bytes()
    assert (pulled.commit, pulled.file) == (pushed.commit, "glasses.safetensors")
    assert sorted(path.name for path in other.iterdir()) == ["glasses.png", "glasses.safetensors"]


def test_no_folder_of_this_machine_is_pushed(hub, library: Path, tmp_path: Path) -> None:
    edit = _edit(base="/home/anna/my-flux", settings={"base": "/home/anna/my-flux"})
    path = edit.save(library / "glasses.safetensors")
    before = path.read_bytes()
    push(path, "me/specs")
    assert all(b"anna" not in data for data in hub.repos["me/specs"].files.values())
    assert path.read_bytes() == before
    pulled = Edit.load(pull("me/specs", tmp_path / "other").path)
    assert (pulled.info.base, pulled.info.settings) == ("my-flux", {"base": "my-flux"})
    for name, layer in edit.layers.items():
        assert torch.equal(pulled.layers[name].up, layer.up)


def test_the_page_is_valid_and_says_what_the_edit_says(hub, saved: Path) -> None:
    push(saved, "me/specs")
    text = hub.repos["me/specs"].files["README.md"].decode()
    _, front, body = text.split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["base_model"] == "black-forest-labs/FLUX.1-dev"
    assert (said["license"], said["library_name"]) == ("cc0-1.0", "diffusers")
    assert said["widget"][0]["output"]["url"] == "glasses.png"
    assert "![What the edit does](glasses.png)" in body
    assert 'load_lora_weights("me/specs", weight_name="glasses.safetensors"' in body


def test_the_same_again_makes_no_mess_and_a_new_version_can_be_told_from_the_old(
    hub, saved: Path, tmp_path: Path
) -> None:
    first = push(saved, "me/specs")
    before = saved.read_bytes()
    _edit(steps=9).save(saved)
    second = push(saved, "me/specs")
    assert first.commit != second.commit
    assert hub.repos["me/specs"].messages == ["Edit glasses"] * 2
    old = pull("me/specs", tmp_path / "old", revision=first.commit)
    new = pull("me/specs", tmp_path / "new")
    assert old.path.read_bytes() == before
    assert new.path.read_bytes() == saved.read_bytes() != before
    with pytest.raises(HubError, match="me/specs has no revision v9"):
        pull("me/specs", tmp_path / "v9", revision="v9")
    assert not (tmp_path / "v9").exists()


def test_another_name_is_that_of_the_edit_too(hub, saved: Path, tmp_path: Path) -> None:
    push(saved, "me/specs")
    pulled = pull("me/specs", tmp_path, name="specs")
    assert pulled.path.name == "specs.safetensors"
    one, two = Edit.load(saved), Edit.load(pulled.path)
    assert (two.name, two.info.pairs) == ("specs", ["anna", "ben"])
    for name, layer in one.layers.items():
        assert two.layers[name].up.equal(layer.up)
        assert two.layers[name].down.equal(layer.down)
    assert (tmp_path / "specs.png").is_file()


def test_nothing_is_overwritten_unasked(hub, saved: Path, tmp_path: Path) -> None:
    push(saved, "me/specs")
    mine = tmp_path / "glasses.safetensors"
    mine.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"There is an edit glasses already .*--force"):
        pull("me/specs", tmp_path)
    assert mine.read_bytes() == b"mine"
    hub.asked.clear()
    with pytest.raises(UsageError, match="There is an edit glasses already"):
        pull("me/specs", tmp_path, name="glasses")
    assert hub.asked == []  # where the name is known, the network is not needed
    # The picture of an edit that is replaced goes with it.
    del hub.repos["me/specs"].files["glasses.png"]
    (tmp_path / "glasses.png").write_bytes(b"of mine")
    assert pull("me/specs", tmp_path, force=True).preview is None
    assert mine.read_bytes() == saved.read_bytes()
    assert not (tmp_path / "glasses.png").exists()


def test_private_is_private(hub, saved: Path, tmp_path: Path, monkeypatch) -> None:
    push(saved, "me/mine", private=True)
    assert hub.repos["me/mine"].private
    push(saved, "me/mine", private=True)
    push(saved, "me/public")
    commits = len(hub.repos["me/public"].commits)
    with pytest.raises(HubError, match="me/public is there already, and it is public"):
        push(saved, "me/public", private=True)
    assert len(hub.repos["me/public"].commits) == commits
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(
        HubError, match=r"There is no repository me/mine that you may see.*HF_TOKEN"
    ):
        pull("me/mine", tmp_path)
    assert pull("me/public", tmp_path).path.is_file()


def _put(hub, **files: bytes) -> None:
    repo = hub.repos.get("a/b") or hub.add("a/b")
    repo.commit({name.replace("__", "."): content for name, content in files.items()})


def _foreign(path: Path) -> bytes:
    key = "transformer.transformer_blocks.0.attn.to_q.lora_{}.weight"
    save_file({key.format("A"): torch.ones(2, 8), key.format("B"): torch.ones(8, 2)}, path)
    return path.read_bytes()


def test_which_file_is_the_edit(hub, saved: Path, tmp_path: Path) -> None:
    own, other = saved.read_bytes(), _edit("hat").save(tmp_path / "hat.safetensors").read_bytes()
    foreign = _foreign(tmp_path / "x.safetensors")
    _put(hub, README__md=b"x")
    with pytest.raises(
        HubError, match=r"a/b holds no edit\. Expected a safetensors file\. Got READ"
    ):
        pull("a/b", tmp_path / "lib")
    _put(hub, x__safetensors=foreign)
    with pytest.raises(
        HubError, match=r"x\.safetensors of a/b is a LoRA of another tool.*edits imp"
    ):
        pull("a/b", tmp_path / "lib")
    _put(hub, glasses__safetensors=own)
    assert pull("a/b", tmp_path / "one").file == "glasses.safetensors"
    _put(hub, hat__safetensors=other)
    with pytest.raises(HubError) as raised:
        pull("a/b", tmp_path / "lib")
    assert str(raised.value) == (
        "a/b holds 2 edits. Expected one. Got glasses.safetensors, hat.safetensors. Choose one "
        "with --file."
    )
    with pytest.raises(HubError, match=r"a/b has no file hta\.safetensors\. Expected glasses"):
        pull("a/b", tmp_path / "lib", file="hta.safetensors")
    with pytest.raises(HubError, match="is a LoRA of another tool"):
        pull("a/b", tmp_path / "lib", file="x.safetensors")
    assert not (tmp_path / "lib").exists()
    assert pull("a/b", tmp_path / "lib", file="hat.safetensors").path.read_bytes() == other


def test_what_is_damaged_is_not_saved(hub, saved: Path, tmp_path: Path) -> None:
    _put(hub, glasses__safetensors=saved.read_bytes()[:-8])
    with pytest.raises(EditError, match=r"glasses\.safetensors is not a readable safetensors file"):
        pull("a/b", tmp_path / "lib")
    assert not (tmp_path / "lib").exists()
    _put(hub, glasses__safetensors=saved.read_bytes(), glasses__png=b"no picture")
    assert pull("a/b", tmp_path / "lib").preview is None
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["glasses.safetensors"]


def test_a_file_whose_name_no_edit_can_have_needs_another(hub, saved: Path, tmp_path: Path) -> None:
    hub.add("a/b").commit({"in a folder/my edit.v2.safetensors": saved.read_bytes()})
    with pytest.raises(UsageError, match=r"'my edit\.v2' cannot be the name .*a/b with --name"):
        pull("a/b", tmp_path)
    assert pull("a/b", tmp_path, name="glasses").path.read_bytes() == saved.read_bytes()


def test_what_is_no_edit_is_not_pushed(hub, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    _foreign(path)
    with pytest.raises(UsageError, match=r"x\.safetensors is a LoRA of another tool.*edits import"):
        push(path, "me/x")
    path.write_bytes(b"nothing")
    with pytest.raises(EditError):
        push(path, "me/x")
    with pytest.raises(EditError):
        push(tmp_path / "none.safetensors", "me/x")
    with pytest.raises(UsageError, match=r"'my edit\.v2' cannot be the name of an edit"):
        push(_edit().save(tmp_path / "my edit.v2.safetensors"), "me/x")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ((403, "GatedRepo"), r"a/b is gated\. Accept its conditions on its page, and log in with"),
        ((401, "GatedRepo"), r"a/b is gated\. "),
        ((404, "RepoNotFound"), r"There is no repository a/b that you may see\. Check the name"),
        ((403, ""), r"You may not read a/b\. Use a token with the right to read it"),
        ((500, ""), r"http://127\.0\.0\.1:\d+ answered 500 for a/b \(.*\)\. Try again later"),
    ],
)
def test_refusals_of_the_hub(hub, saved: Path, tmp_path: Path, refuses, said: str) -> None:
    hub.add("a/b").refuses = refuses
    with pytest.raises(HubError, match=said) as raised:
        pull("a/b", tmp_path / "lib")
    assert raised.value.exit_code == 2
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize(
    ("token", "repo_id", "said"),
    [
        ("hf_of_none", "me/specs", "The Hub does not accept your login for me/specs"),
        (
            "",
            "me/specs",
            r"no repository me/specs that you may see.*`hf auth login`, or set HF_TOKEN",
        ),
        (None, "others/specs", "You may not write to others/specs"),
        (None, "no good name", r"'no good name' cannot be the name of a repository\. Expected OWN"),
    ],
)
def test_who_may_push(
    hub, saved: Path, tmp_path: Path, monkeypatch, token: str | None, repo_id: str, said: str
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=said):
        push(saved, repo_id)
    assert hub.repos == {}


def test_no_network_and_offline_mode(hub, saved: Path, tmp_path: Path, monkeypatch) -> None:
    asked: list[Any] = [lambda: pull("a/b", tmp_path), lambda: push(saved, "a/b")]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    for ask in asked:
        with pytest.raises(
            HubError, match=r"http://127\.0\.0\.1:9 cannot be reached for a/b \(Con"
        ):
            ask()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for ask in asked:
        with pytest.raises(
            HubError, match=r"a/b cannot be reached: offline mode is on\. Unset HF_HUB"
        ):
            ask()


def test_into_a_library_on_a_url_nothing_is_pulled(hub) -> None:
    with pytest.raises(UsageError, match="is on a URL, and edits are only read from there"):
        pull("a/b", "memory://lib")
    assert hub.asked == []


def test_every_error_is_one_of_this_package() -> None:
    assert issubclass(HubError, PairEditError)
    assert HubError("x").exit_code == 2
