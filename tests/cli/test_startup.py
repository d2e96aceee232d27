"""What a command imports, and what it does not: the time that a user waits is spent there."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairedit_sdk.cli import startup
from pairedit_sdk.io.threads import SPIN

ROOT = Path(__file__).resolve().parents[2]
#: Imported by libraries because they are installed, and needed by no command below.
NEVER = {"peft", "diffusers.pipelines.flux"}
if not startup.has_gpu():  # else diffusers must find bitsandbytes
    NEVER |= {"bitsandbytes", "torch._inductor.compile_fx"}
TEXT_ENCODERS = {"transformers.models.t5.modeling_t5"}


def _modules_of(*words: str, **environment: str) -> tuple[set[str], dict[str, str]]:
    """What is imported at the end of a command, and the threads' settings that it ran with."""
    code = (
        "import os, sys\n"
        "from pairedit_sdk.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print('modules', *(name for name, module in sys.modules.items() if module))\n"
        f"print('threads', *(f'{{n}}={{v}}' for n, v in os.environ.items() if n in {sorted(SPIN)}))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in SPIN}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT,
        env={**clean, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *_, modules, threads = done.stdout.splitlines()
    settings = dict(word.split("=") for word in threads.split()[1:])
    return set(modules.split()[1:]), settings


def test_an_edit_imports_no_more_than_it_needs(tmp_path):
    modules, threads = _modules_of(
        "edit", "examples/pairs/age/source/1.png", "--edit", "examples/edits/hat.safetensors",
        "-o", str(tmp_path / "out.png"), "-q",
    )  # fmt: skip
    assert {"torch", "diffusers.models.transformers.transformer_flux"} <= modules
    assert modules & (NEVER | TEXT_ENCODERS) == set()
    assert threads == SPIN


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"torch", "numpy", "PIL", "rich.console"}),
        (["train", "--help"], {"torch", "numpy", "PIL"}),
        (["edits", "list", "--library", "examples/edits", "--json"], {"torch", "diffusers"}),
        (["check", "examples/pairs/hat", "--json"], {"torch", "diffusers"}),
    ],
)
def test_a_command_without_a_model_imports_no_library_of_models(words, heavy):
    modules, _ = _modules_of(*words)
    assert modules & heavy == set()


@pytest.mark.parametrize("there", [True, False])
def test_on_a_gpu_diffusers_finds_what_it_quantises_with(monkeypatch, there):
    hidden = []
    monkeypatch.setattr(startup, "has_gpu", lambda: there)
    monkeypatch.setattr(startup.optional, "hide", lambda *names: hidden.extend(names))
    monkeypatch.setattr(startup, "wait_politely", lambda _: None)
    try:
        startup.prepare()
    finally:
        gc.enable()
    assert hidden == (["peft"] if there else ["peft", "bitsandbytes"])


def test_whoever_has_decided_how_threads_wait_is_left_alone():
    _, threads = _modules_of("--version", GOMP_SPINCOUNT="77")
    assert threads == {"GOMP_SPINCOUNT": "77"}


def test_what_is_imported_is_looked_through_for_garbage_once_at_most():
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    startup.started()  # without prepare: a program that is not the command line
    assert gc.get_freeze_count() == frozen
    gc.disable()
    try:
        startup.started()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.enable()
        gc.unfreeze()
