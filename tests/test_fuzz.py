"""Files that anybody may have made: each ends in an error of ours, or in something whole.

The mutants are read in one child process that may use 2 seconds of the processor for each of them
and 1 GiB of memory beyond what it begins with. Every mutant comes from a seed, so a failure names
what to run again: ``python tests/test_fuzz.py edits 1 SEED FOLDER`` leaves the file in the folder.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

SECONDS, MEMORY = 6.0, 2**30
#: Problems that are told of one run.
TOLD = 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks the system for memory")

Mutant = tuple[str, bytes]


@pytest.mark.parametrize("kind", ["edits", "bases", "pictures"])
def test_every_mutant_is_refused_or_whole(kind: str, tmp_path: Path) -> None:
    fuzzed(kind, {"edits": 1000, "bases": 600, "pictures": 400}[kind], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["edits", "bases", "pictures"])
def test_a_great_many_mutants(kind: str, tmp_path: Path) -> None:
    count = {"edits": 100_000, "bases": 10_000, "pictures": 10_000}[kind]
    fuzzed(kind, count, tmp_path, seed=10_000_000)


def fuzzed(kind: str, count: int, folder: Path, seed: int = 0) -> None:
    words = [sys.executable, __file__, kind, str(count), str(seed), str(folder)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    # A negative status is a signal: SIGPROF after SECONDS in one mutant, which is left in folder.
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-200:]}\n{done.stderr[-3000:]}"
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["problems"] == []
    assert said["runs"] == count
    assert said["memory"] < MEMORY
    # Both happen, or the mutants are too wild or too tame to show anything.
    assert min(said["refused"], said["whole"]) > count / 50


# From here on: the child.


def main(kind: str, count: int, seed: int, folder: Path) -> None:
    warnings.simplefilter("error")
    mutants, read = {
        "edits": (edit_mutants, read_edit), "bases": (basis_mutants, read_basis),
        "pictures": (picture_mutants, read_picture),
    }[kind]  # fmt: skip
    make = mutants(folder)
    read(folder, *make(random.Random(0)))  # whatever is imported late
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limit = MEMORY + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    faulthandler.register(signal.SIGPROF, chain=True)
    said: dict[str, Any] = {"runs": 0, "refused": 0, "whole": 0, "problems": []}
    for number in range(seed, seed + count):
        mutant = make(random.Random(number))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            said["whole" if read(folder, *mutant) else "refused"] += 1
        except BaseException as error:
            if len(said["problems"]) < TOLD:
                said["problems"].append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        said["runs"] += 1
    said["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    print(json.dumps(said))


def refused(read: Callable[[], object]) -> bool:
    """Whether our own error comes of it; it is not to hide that memory ran out."""
    from pairedit_sdk.errors import PairEditError

    try:
        read()
    except PairEditError as error:
        said = f"{error.__cause__!r} {error}"
        if "\n" in str(error) or "MemoryError" in said or "alloc" in said:
            raise AssertionError(said) from error
        return True
    return False


# Edits


def read_edit(folder: Path, name: str, data: bytes) -> bool:
    """Whether the file is an edit; both readers and the importer are tried."""
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lora.reading import read_lora

    path = folder / name
    path.write_bytes(data)
    if name == "adapter_config.json":
        path = folder / "adapter_model.safetensors"
    whole: list[Edit] = []
    no = refused(lambda: whole.append(Edit.of_file(read_lora(path, pickled=True), path)))
    refused(lambda: Edit.of_file(read_lora(path, 1.0, partly=True, pickled=True), path))
    if path.suffix == ".safetensors":
        infos: list[object] = []
        header_no = refused(lambda: infos.append(Edit.read_info(path)))
        assert no or not header_no, "the header alone is refused, and the whole is not"
        json.dumps([asdict(info) for info in infos])  # type: ignore[call-overload]
    for edit in whole:
        for layer in edit.layers.values():
            assert layer.down.shape[0] == layer.up.shape[1] == layer.rank > 0
            assert bool(layer.up.float().isfinite().all())
        assert Edit.load((edit @ 0.5).merged("again").save(folder / "again")).name == "again"
    return not no


def edit_mutants(folder: Path) -> Callable[[random.Random], Mutant]:
    seeds = _edit_files(folder)

    def make(rng: random.Random) -> Mutant:
        name, data = rng.choice(seeds)
        ways: list[Callable[[], bytes]] = [
            lambda: _bytes_changed(rng, data), lambda: _random_file(rng),
            lambda: _spliced(rng, data, rng.choice(seeds)[1]),
        ]  # fmt: skip
        if name == "adapter_config.json":
            ways += [lambda: json.dumps(_odd_adapter(rng, "")).encode()] * 6
        elif name.endswith(".safetensors"):
            ways += [lambda: _header_length_lied(rng, data)]
            ways += [lambda: _header_changed(rng, data)] * 6
        return name, rng.choice(ways)()

    return make


def _edit_files(folder: Path) -> list[Mutant]:
    """Small edits in every form that is read."""
    import torch
    from safetensors.torch import save

    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.export import to_kohya
    from pairedit_sdk.lora.formats import PEFT_PREFIX, adapter_config
    from pairedit_sdk.lora.layers import LoraLayer

    torch.manual_seed(0)
    names = [f"transformer_blocks.0.attn.{part}" for part in ("to_q", "to_k", "to_v", "to_out.0")]
    layers = {n: LoraLayer(torch.randn(2, 8), torch.randn(8, 2)) for n in names}
    info = EditInfo("seed", "mini", "flux-1-mini", "0123", "fp32", 3.5, 128, 2, 4, ["1", "2"])
    path = Edit(layers, info).save(folder / "seed.safetensors")
    own = path.read_bytes()
    path.unlink()
    peft = {
        f"{PEFT_PREFIX}{name}.lora_{half}.weight": value
        for name, layer in layers.items()
        for half, value in (("A", layer.down), ("B", layer.up))
    }
    flat = {f"lora_unet_{name.replace('.', '_')}": layer for name, layer in layers.items()}
    released = {
        f"{name}.{key}": value
        for name, layer in flat.items()
        for key, value in (
            ("lora_down.weight", layer.down.half()), ("lora_up.weight", layer.up.bfloat16()),
            ("alpha", torch.tensor(1.0)),
        )
    }  # fmt: skip
    comfy = {
        f"diffusion_model.double_blocks.0.img_attn_qkv.lora_{half}.weight": value
        for half, value in (("A", torch.randn(2, 8)), ("B", torch.randn(24, 2)))
    }
    kron = {
        f"lycoris_transformer_blocks_0_attn_to_q.{part}": value
        for part, value in (
            ("lokr_w1", torch.randn(2, 2)), ("lokr_w2_a", torch.randn(4, 2)),
            ("lokr_w2_b", torch.randn(2, 4)), ("alpha", torch.tensor(1.0)),
        )
    }  # fmt: skip
    hada = {f"diffusion_model.layers.0.x.hada_w{k}_a": torch.randn(8, 2) for k in (1, 2)}
    hada |= {f"diffusion_model.layers.0.x.hada_w{k}_b": torch.randn(2, 8) for k in (1, 2)}
    hada["double_blocks.0.processor.proj_lora1.down.weight"] = torch.randn(2, 8)
    hada["double_blocks.0.processor.proj_lora1.up.weight"] = torch.randn(8, 2)
    hada["transformer.x.diff"] = torch.randn(8, 8)
    (folder / "adapter_model.safetensors").write_bytes(save(peft))
    old, new = io.BytesIO(), io.BytesIO()
    torch.save(released, old, _use_new_zipfile_serialization=False)
    torch.save(released, new)
    return [
        ("one.safetensors", own), ("one.safetensors", own),
        ("one.safetensors", save(to_kohya(layers, info.architecture))),
        ("one.safetensors", save(released)),
        ("one.safetensors", save(comfy)), ("one.safetensors", save(kron)),
        ("one.safetensors", save(hada)), ("one.pt", old.getvalue()), ("one.pt", new.getvalue()),
        ("adapter_config.json", json.dumps(adapter_config(layers)).encode()),
    ]  # fmt: skip


def read_basis(folder: Path, name: str, data: bytes) -> bool:
    """Whether the file is a learned basis; one that is can be used, changed and kept."""
    import torch

    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.delta import PairFeatures

    path = folder / name
    path.write_bytes(data)
    # What lies beside it is for people; the basis is read from its own file alone.
    beside = folder / "basis.json"
    beside.write_bytes(data[:400] if len(data) % 2 else b'{"schema": 7, "settings": []}')
    whole: list[LoRWeBBasis] = []
    no = refused(lambda: whole.append(LoRWeBBasis.load(path)))
    for basis in whole:
        query = torch.ones(basis.router.projection.shape[-1])
        e = basis.coefficients(query)
        assert e.shape[-1] == len(basis.elements)
        for layer in basis.mixed(e).layers.values():
            assert layer.down.shape[0] == layer.up.shape[1] == layer.rank > 0
        if basis.delta is not None:
            sizes = basis.delta.shape
            seen = PairFeatures(
                torch.ones(1, 2, sizes.embedding), torch.ones(1, 2, sizes.patches, sizes.features)
            )
            tokens, _ = basis.delta(seen)
            assert tokens.shape == (1, sizes.tokens, sizes.prompt)
        refused(partial(basis.key_for, query[None], query[None] / 2))
        json.dumps([asdict(basis.info), basis.elements])
        for own in basis.joined:
            json.dumps(asdict(own.edit.info))
            assert len(basis.without(own.edit.name).elements) < len(basis.elements)
        again = LoRWeBBasis.load(basis.save(folder / "again.safetensors"))
        assert again.info == basis.info
        assert again.elements == basis.elements
    return not no


def basis_mutants(folder: Path) -> Callable[[random.Random], Mutant]:
    seeds = list(_basis_files(folder))

    def make(rng: random.Random) -> Mutant:
        data = rng.choice(seeds)
        ways: list[Callable[[], bytes]] = [
            lambda: _bytes_changed(rng, data), lambda: _random_file(rng),
            lambda: _header_length_lied(rng, data), lambda: _spliced(rng, data, rng.choice(seeds)),
        ]  # fmt: skip
        ways += [lambda: _header_changed(rng, data)] * 3
        ways += [lambda: _basis_changed(rng, data)] * 6 + [lambda: _numbers_changed(rng, data)]
        return "basis.safetensors", rng.choice(ways)()

    return make


def _basis_files(folder: Path) -> Iterator[bytes]:
    """Small bases: LoRAs alone, with edits that joined, with a delta network, of it alone, and in
    half precision."""
    import torch
    from safetensors.torch import load, save

    from pairedit_sdk.basis.router import Router
    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape
    from pairedit_sdk.lorweb.mixing import empty_router
    from pairedit_sdk.lorweb.parts import BasisLayer, Joined, LearnedInfo
    from pairedit_sdk.lorweb.settings import BasisSettings

    torch.manual_seed(0)
    settings = BasisSettings(count=2, rank=1, key_width=4, delta_tokens=2, delta_width=8)
    layers = {
        f"transformer_blocks.0.attn.{part}": BasisLayer(torch.randn(2, 1, 8), torch.randn(2, 8, 1))
        for part in ("to_q", "to_k", "to_v")
    }
    router = Router(torch.randn(3, 4, 12), torch.randn(3, 2, 4), 2.0, False, "softmax")
    info = LearnedInfo("seed", "mini-kontext", "0123", "flux-1-mini-kontext", "mini", settings, 4)
    own = [
        Joined(
            Edit(
                {name: LoraLayer(torch.randn(3, 8), torch.randn(8, 3)) for name in (*places, "x")},
                EditInfo(f"own {len(places)}", "mini-kontext", rank=3),
            ),
            torch.randn(3, 4),
        )
        for places in (list(layers)[:1], list(layers))
    ]
    delta = DeltaNetwork(DeltaShape(2, 8, 1, 4, 3, 5, 6, 7)).eval().requires_grad_(False)
    for one in (
        LoRWeBBasis(layers, router, info), LoRWeBBasis(layers, router, info, own),
        LoRWeBBasis(layers, router, info, own, delta),
        LoRWeBBasis({}, empty_router(12), info, delta=delta),
    ):  # fmt: skip
        path = one.save(folder / "seed.safetensors")
        data = path.read_bytes()
        path.unlink()
        yield data
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])["__metadata__"]
    yield save({name: tensor.half() for name, tensor in load(data).items()}, about)


def _basis_changed(rng: random.Random, data: bytes) -> bytes:
    """The file with something else in the description in its header."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    values = json.loads(about["learned_basis"])
    inner: list[Any] = [values, values["settings"], *values["joined"]]
    inner += [values["delta"]] * 2 if "delta" in values else []
    for _ in range(rng.choice((1, 1, 2))):
        chosen = rng.choice(inner)
        key = rng.choice([*chosen, "new"])
        way = rng.randrange(6)
        if way == 0:
            chosen.pop(key, None)
        elif way == 1 and isinstance(chosen.get(key), list):
            more = [*chosen[key], _odd_value(rng)]
            chosen[key] = rng.choice((chosen[key] * 2, chosen[key][:1], more))
        elif way == 2 and isinstance(chosen.get(key), int):
            chosen[key] = rng.choice((0, -1, 1, 2, 3, 4, 8, 16, 4096, 65536, 10**9, 2.0, True))
        else:
            chosen[key] = _odd_value(rng)
    about["learned_basis"] = _text_of(rng, values) if rng.random() < 0.1 else json.dumps(values)
    raw = json.dumps(header).encode(errors="surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + data[8 + length :]


def _numbers_changed(rng: random.Random, data: bytes) -> bytes:
    """The file with numbers that are none, or too large, in one of its tensors."""
    import torch
    from safetensors.torch import load, save

    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors = load(data)
    name = rng.choice(sorted(tensors))
    bad = rng.choice((float("nan"), float("inf"), -float("inf"), 1e38, 1e-40, 0.0))
    tensors[name].view(-1)[rng.randrange(tensors[name].numel() or 1) :][:1].fill_(bad)
    kind = rng.choice((None, None, torch.float64, torch.bfloat16, torch.int32, torch.float8_e4m3fn))
    if kind is not None:
        tensors[name] = tensors[name].nan_to_num(0, 1, -1).to(kind)
    return save(tensors, about)


def _bytes_changed(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    way = rng.randrange(5)
    if way == 0:
        return bytes(changed[: rng.randrange(len(changed) + 1)])
    if way == 1:
        return data + rng.randbytes(rng.randrange(1, 200))
    if way == 2:
        start = rng.randrange(len(changed))
        del changed[start : start + rng.randrange(1, 40)]
    elif way == 3:
        number = rng.choice((0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, rng.randrange(2**32)))
        order: Any = rng.choice(("little", "big"))
        start = rng.randrange(max(1, min(len(changed) - 4, rng.choice((64, len(changed))))))
        changed[start : start + 4] = number.to_bytes(4, order)
    else:
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _random_file(rng: random.Random) -> bytes:
    start = rng.choice((b"", b"\x80\x04", b"PK\x03\x04", b"{", b"\x10" + bytes(7), b"\x1f\x8b"))
    evil = pickle.dumps(Path("nowhere"))
    return rng.choice((start + rng.randbytes(rng.randrange(300)), evil, b"[" * 30_000, b""))


def _spliced(rng: random.Random, one: bytes, other: bytes) -> bytes:
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


def _header_length_lied(rng: random.Random, data: bytes) -> bytes:
    true = int.from_bytes(data[:8], "little")
    lies = (0, 1, true - 1, true + 1, true + 8, len(data), 2**31, 2**63, 2**64 - 1, 10**8)
    return rng.choice(lies).to_bytes(8, "little") + data[8:]


def _header_changed(rng: random.Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    about = header.setdefault("__metadata__", {})
    name = rng.choice([key for key in header if key != "__metadata__"])
    way = rng.randrange(9)
    if way == 0:
        kinds = "BOOL U8 I8 F8_E4M3 F8_E5M2 I16 F16 BF16 I32 F32 F64 I64 U64 C64 F4 F6_E2M3 X 3"
        header[name]["dtype"] = rng.choice(kinds.split())
    elif way == 1:
        shapes = ([], [0], [-1, 8], [2**62, 2**62], [1.5, 8], "2", [16], [8, 2], [[2], 8], None)
        header[name]["shape"] = rng.choice(shapes)
    elif way == 2:
        header[name]["data_offsets"] = rng.choice(
            ([0, 64], [64, 0], [0, 2**63], [-8, 56], [0], [0, 10**12], ["0", "64"], None)
        )
    elif way == 3:
        header.pop(name)
    elif way == 4:
        header[_odd_text(rng)] = header.pop(name)
    elif way == 5:
        about["lora_adapter_metadata"] = _text_of(rng, _odd_adapter(rng, "transformer."))
    elif way == 6:
        about["pairedit"] = _text_of(rng, _odd_description(rng, about.get("pairedit")))
    elif way == 7:
        header["__metadata__"] = rng.choice(
            (None, [], {"pairedit": 3}, {"a": {"b": {}}}, {_odd_text(rng): _odd_text(rng)})
        )
    text = json.dumps(header)
    if way == 8:  # one key twice
        text = f'{{"{name}": {json.dumps(header[name])}, {text[1:]}'
    raw = text.encode(errors="surrogatepass")
    # The lengths agree, so that what is in the header is reached.
    return len(raw).to_bytes(8, "little") + raw + data[8 + length :]


def _text_of(rng: random.Random, value: object) -> str:
    odd = ("[" * 100_000, '{"a":' * 5000, "null", "3", '"x"', "[]", "{}", "{", "", "9" * 5000)
    return rng.choice(odd) if rng.random() < 0.2 else json.dumps(value)


def _odd_text(rng: random.Random) -> str:
    names = (
        "", "a\nb", "\x1b[31m", "é" * 300, "../../etc/passwd", "transformer.", "x" * 5000, "\ud800",
        "transformer.x.lora_A.weight", "lora_unet_.lora_up.weight", "text_encoder.x", "x.alpha",
        "base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight", "(a+)+$", "a" * 40 + ".",
    )  # fmt: skip
    return rng.choice(names)


def _odd_value(rng: random.Random) -> Any:
    values = (
        0, -1, 1, 2, 10**400, 2**63, 0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), None,
        True, "x", "3", "nan", [], [1], {}, {"a": 1}, [["a", 1.0]], [["a"]], [[]] * 3, "\n",
    )  # fmt: skip
    return rng.choice(values)


def _odd_pattern(rng: random.Random) -> str:
    patterns = (
        "to_q", ".*to_q", "^transformer_blocks.0.attn.to_q$", r".*\.(to_q|to_k)", "(a+)+$",
        "(.*)*x", "(.*.*.*.*.*.*.*.*)*=", "(x|x|x|.)*y", ".*" * 40 + "x", ")(", "[", "*", "(?P<",
        r"\1", "(", "(?:", "a{99999}", "(a|b)" * 12, "|" * 500, "x" * 5000, r"[\w.]+\d*",
        "[z-a]", "", "a||b",
    )  # fmt: skip
    return rng.choice(patterns)


def _odd_adapter(rng: random.Random, prefix: str) -> dict[str, Any]:
    odd: dict[str, Any] = {
        f"{prefix}r": 2, f"{prefix}lora_alpha": 2,
        f"{prefix}alpha_pattern": {
            _odd_pattern(rng): rng.choice((1, 4.0, _odd_value(rng)))
            for _ in range(rng.randrange(4))
        },
    }  # fmt: skip
    for key in ("r", "lora_alpha", "alpha_pattern", "use_dora", "use_rslora", "rank_pattern"):
        if rng.random() < 0.2:
            odd[f"{prefix}{key}"] = _odd_value(rng)
    return odd


def _odd_description(rng: random.Random, known: str | None) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(known) if known else {"schema": 1, "name": "x"}
    editor = values.get("editor", {})
    for key in rng.sample([*values, "new"], k=rng.choice((1, 1, 2))):
        values[key] = _odd_value(rng)
    if rng.random() < 0.2:
        values["editor"] = {**editor, rng.choice(("steps", "n_avg", "x")): _odd_value(rng)}
    return values


# Pictures


def read_picture(folder: Path, name: str, data: bytes) -> bool:
    """Whether the file is a picture, read alone and as one of a pair."""
    from PIL import Image

    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.opening import MAX_MEGAPIXELS
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.pairs.pair_set import PairSet

    path = folder / name
    path.write_bytes(data)
    whole: list[Image.Image] = []
    no = refused(lambda: whole.append(read_image(path)))
    photos: list[Photo] = []
    refused(lambda: photos.append(Photo.read(path)))
    for photo in photos:
        photo.seen((8, 8))
        if photo.width * photo.height < 1e6:  # dozens of megapixels take their seconds to write
            photo.save(folder / "written.png", "png")
    for image in whole:
        assert (image.mode, min(image.size) > 0) == ("RGB", True)
        assert image.width * image.height <= MAX_MEGAPIXELS * 1e6
        image.getpixel((image.width - 1, image.height - 1))
    if no or whole[0].size == (24, 16):
        good = Image.new("RGB", (24, 16))
        assert refused(lambda: PairSet.from_images([(good, path)])) == no
    return not no


def picture_mutants(folder: Path) -> Callable[[random.Random], Mutant]:
    seeds = list(_picture_files())

    def make(rng: random.Random) -> Mutant:
        name, data = rng.choice(seeds)
        changed = _bytes_changed(rng, data)
        if rng.random() < 0.1:
            changed = _spliced(rng, data, rng.choice(seeds)[1])
        if rng.random() < 0.3:
            changed = _bytes_changed(rng, changed or data)
        if name.endswith(".png") and rng.random() < 0.7:
            changed = _with_checksums(changed)
        return name, changed

    return make


def _picture_files() -> Iterator[Mutant]:
    """Small pictures of every format and mode that is read."""
    import numpy as np
    from PIL import Image, ImageCms

    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 60
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    deep = Image.fromarray(rng.integers(0, 65536, (16, 24), dtype=np.uint16))
    flat = Image.fromarray(rng.random((16, 24), dtype=np.float32))
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("a.png", colour, {"exif": exif}), ("a.png", colour, {"icc_profile": profile}),
        ("a.png", colour.convert("RGBA"), {}), ("a.png", colour.convert("P"), {"transparency": 3}),
        ("a.png", deep, {}), ("a.png", colour.convert("1"), {}),
        ("a.jpg", colour, {"exif": exif}), ("a.jpg", colour, {"progressive": True}),
        ("a.jpg", colour.convert("CMYK"), {}), ("a.jpg", colour, {"icc_profile": profile}),
        ("a.webp", colour, {}), ("a.webp", colour.convert("RGBA"), {"lossless": True}),
        ("a.webp", colour, {"save_all": True, "append_images": [colour.rotate(180)]}),
        ("a.tif", colour, {}), ("a.tif", colour, {"compression": "tiff_lzw"}),
        ("a.tif", colour, {"compression": "tiff_adobe_deflate"}),
        ("a.tif", colour.convert("CMYK"), {"compression": "packbits"}), ("a.tif", flat, {}),
        ("a.tif", colour, {"compression": "jpeg"}), ("a.tif", deep, {}),
        ("a.gif", colour, {}), ("a.gif", colour, {"save_all": True, "append_images": [deep]}),
        ("a.bmp", colour, {}), ("a.bmp", colour.convert("P"), {}), ("a.ppm", colour, {}),
        ("a.tga", colour, {"compression": "tga_rle"}),
    ]  # fmt: skip
    for name, image, settings in made:
        data = io.BytesIO()
        image.save(data, Image.registered_extensions()[Path(name).suffix], **settings)
        yield name, data.getvalue()


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right check sums again, so that their content is reached."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        inside = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        out += data[at : at + 4] + inside + zlib.crc32(inside).to_bytes(4, "big")
        at += 12 + length
    return out + data[at:]


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
