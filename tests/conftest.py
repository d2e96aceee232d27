"""What every test shares: a quiet, offline, reproducible process, drawn pairs and a library."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pairedit_sdk.io.threads import wait_politely

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel
    from pairedit_sdk.pairs.pair_set import PairSet

# torch and the tokenizers read these when they are first imported; child processes inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "2")
wait_politely(os.environ)
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", NO_COLOR="1", COLUMNS="120")
for _setting in ("PAIREDIT_BASE", "PAIREDIT_LIBRARY", "FORCE_COLOR"):
    os.environ.pop(_setting, None)

#: Seconds that a slow test may take; of the others pyproject.toml says it.
SLOW_TIMEOUT = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))


def _face_pairs(
    changes: Mapping[str, str], count: int = 3, *, size: int = 128, seed: int = 0, **fixed: str
) -> PairSet:
    """Draw ``count`` exact pairs of an edit, for example ``face_pairs({"glasses": "round"})``.

    Args:
        changes: attribute to its value after the edit. Before it, what can be absent is absent.
        count: how many people.
        size: side of the pictures in pixels.
        seed: other seeds draw other people.
        fixed: attributes that all the people share.
    """
    from pairedit_sdk.builtin.faces.face import ATTRIBUTES, sample_face, visible
    from pairedit_sdk.pairs.pair_set import PairSet

    absent = {
        name: value for name in changes for value in ("none", "no") if value in ATTRIBUTES[name]
    }
    rng = random.Random(seed)
    pairs = []
    while len(pairs) < count:
        before = sample_face(rng, **{"style": "photo", **absent, **fixed})
        after = before.with_(**changes)
        if all(getattr(before, name) != changes[name] and visible(after, name) for name in changes):
            pairs.append((before.draw(size), after.draw(size)))
    return PairSet.from_images(pairs)


@pytest.fixture(scope="session")
def face_pairs() -> Callable[..., PairSet]:
    return _face_pairs


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty library of edits, which commands take as theirs."""
    folder = tmp_path / "edits"
    folder.mkdir()
    monkeypatch.setenv("PAIREDIT_LIBRARY", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder of the real classes with random weights, small and quick."""
    import torch

    from pairedit_sdk.builtin.build import parts
    from pairedit_sdk.builtin.build.assemble import Parts, assemble, image_tower, text_tower

    torch.manual_seed(0)
    transformer = parts.transformer(width=64, double=1, single=1)
    vae = parts.autoencoder()
    vae.register_to_config(scaling_factor=0.7, shift_factor=0.1)
    folder = tmp_path_factory.mktemp("base") / "tiny"
    clip = parts.clip()
    return assemble(
        folder,
        Parts(vae, text_tower(clip), image_tower(clip), parts.t5(), transformer),
        dtype=torch.float32,
    )


@pytest.fixture(scope="session")
def tiny_kontext_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a FLUX that looks at pictures."""
    import torch
    from diffusers import FluxKontextPipeline

    from pairedit_sdk.builtin.build import parts
    from pairedit_sdk.builtin.build.assemble import Parts, assemble, image_tower, text_tower

    torch.manual_seed(0)
    vae = parts.autoencoder()
    vae.register_to_config(scaling_factor=0.7, shift_factor=0.1)
    clip, t5 = parts.clip(), parts.t5()
    text = text_tower(clip)
    for encoder in (text, t5):
        encoder.resize_token_embeddings(len(parts.vocabulary(instructions=True)))
    return assemble(
        tmp_path_factory.mktemp("base") / "kontext",
        Parts(vae, text, image_tower(clip), t5, parts.transformer(width=64, double=1, single=1)),
        dtype=torch.float32,
        kind=FluxKontextPipeline,
        instructions=True,
    )


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny pipeline by its name in ``tiny_families.MAKERS``, for example
    ``tiny_family("klein")``. Each is made once, and no test may change it."""
    from tests.tiny_families import MAKERS

    parent = tmp_path_factory.mktemp("families")
    return cache(lambda name: MAKERS[name](parent / name))


@pytest.fixture(scope="session")
def tiny_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP model of the real class, both sides, with random weights."""
    import torch
    from transformers import CLIPImageProcessorPil

    from pairedit_sdk.builtin.build import parts

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    side = parts.IMAGE_SIZE
    parts.clip().save_pretrained(folder)
    parts.tokenizer(begin=True).save_pretrained(folder)
    size = {"height": side, "width": side}
    CLIPImageProcessorPil(size=size, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_model(tiny_folder: Path) -> PipelineModel:
    from pairedit_sdk.models.pipeline_model import PipelineModel

    return PipelineModel.load(str(tiny_folder), device="cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or leaves prompt embeddings in the user's cache."""
    monkeypatch.setenv("PAIREDIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Within the block this thread may not read ``path``, even as root."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with _without_override():
            try:
                os.listdir(path) if path.is_dir() else path.open("rb").close()
            except PermissionError:
                yield
            else:
                pytest.skip("this system refuses nothing to this user")
    finally:
        path.chmod(mode)


@contextmanager
def _without_override() -> Iterator[None]:
    """Drop the two capabilities by which root on Linux overrides permissions, for this thread.

    They are CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH. The thread takes them back afterwards.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    # Effective, permitted, inheritable, and again for capabilities from 32 on. These are 1 and 2.
    had = (ctypes.c_uint32 * 6)()
    if libc.capget(header, had) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    fewer = type(had)(had[0] & ~0b110, *had[1:])
    if libc.capset(header, fewer) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        if libc.capset(header, had) != 0:
            raise OSError(ctypes.get_errno(), "capset")


@pytest.fixture
def refused() -> Callable[[Path], AbstractContextManager[None]]:
    return _refused


def _stand_in() -> ModuleType:
    """hub_stand_in.py; the tests are no package that it could be imported from."""
    name = "hub_stand_in"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A stand-in of the Hugging Face Hub, and huggingface_hub with a login that may write there."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session, disable_progress_bars

    stand_in = _stand_in()
    # These were read from the environment when huggingface_hub was imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
    for proxy in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    disable_progress_bars()
    close_session()
    with stand_in.running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found
    close_session()
