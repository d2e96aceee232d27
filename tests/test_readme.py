"""README.md does what it says: its commands and its Python run, one after the other, in its order.

They run in an empty folder, as for a user who has only installed the package. Trainings are cut to
:data:`STEPS` steps and ask for :data:`PHRASES` alone, and the demo makes fewer pictures: what comes
of them is the matter of other tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import pairedit_sdk as pe
from pairedit_sdk.cli import app, demo_run
from pairedit_sdk.training.config import load_recipe

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
STEPS = 2
PHRASES = ("add round glasses", "make the person old", "add a beanie")
LONGEST = 10  # lines of a section, blank ones not counted

#: What sets a machine up, instead of using the package.
SETUP = {"make demo", "make test", "source .venv/bin/activate", "pip install ."}
#: What this machine lacks something for. A comment that begins with "needs" says so to the reader.
NEEDS = {
    "pip install -e '.[studio]'": "network",
    "pairedit studio --library out/demo": "browser",
    "hf auth login": "network",
    "pairedit train pairs --name mine --recipe klein-4b --dry-run": "GPU",
    "pairedit train pairs --name mine --recipe klein-4b": "GPU",
    "pairedit train pairs --name other --recipe lowmem": "GPU",
    "pairedit edit photo.jpg --edit mine -o out.png": "GPU",
    "pairedit bench speed --shape FLUX.1-dev": "GPU",
    "pairedit edits push glasses OWNER/glasses": "network",
    "pairedit bench edits --small": "minutes",
    "pairedit bench compose --small": "minutes",
    "pairedit bench basis --small": "minutes",
    "pairedit bench analogy --small": "minutes",
    "pairedit bench photo --small": "minutes",
    "pairedit bench speed --small": "minutes",
}
#: Words that mean something to those who wrote the package only.
PRIVATE = ("even strength", "looked at", "heard", "told", "room", "drawer", "learnt", "rooms")


def pieces() -> list[tuple[str, str]]:
    """Python blocks and commands in their order: (code, "") or ("", command with its comment)."""
    return re.findall(r"^```python\n([\s\S]*?)^```$|^    (\S(?:.*\\\n)*.*)$", README, re.M)


def split(command: str) -> tuple[list[str], str]:
    """The words of a command, and its comment."""
    line, _, comment = command.replace("\\\n", " ").partition("  #")
    return shlex.split(line), comment.strip()


COMMANDS = [split(command) for _, command in pieces() if command]


def test_commands_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_run, "FACES", 2)
    monkeypatch.setattr(demo_run, "SCALES", (1.0,))
    monkeypatch.setattr(demo_run, "PROMPTS", demo_run.PROMPTS[:1])
    monkeypatch.setattr("pairedit_sdk.words.vocabulary.all_instructions", lambda: PHRASES)
    monkeypatch.setattr(pe, "load_recipe", lambda name: load_recipe(name, [f"steps={STEPS}"]))
    names: dict[str, object] = {}
    for code, command in pieces():
        if code:
            exec(compile(code, "<README.md>", "exec"), names)
            continue
        words, _ = split(command)
        if (line := shlex.join(words)) in SETUP or line in NEEDS:
            continue
        assert words[0] == "pairedit", f"neither run nor listed: {line}"
        if "train" in words:
            words += ["--set", f"steps={STEPS}"]
        if words[1] == "demo":
            words += ["--steps", str(STEPS)]
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if "-o" in words:
            assert Path(words[words.index("-o") + 1]).exists(), line


def test_what_is_not_run_stands_there_and_says_so() -> None:
    lines = {shlex.join(words): comment for words, comment in COMMANDS}
    assert SETUP | NEEDS.keys() <= lines.keys()
    said = {line for line, comment in lines.items() if comment.startswith("needs ")}
    assert said == NEEDS.keys()
    for line, need in NEEDS.items():
        assert need in lines[line].split(";")[0].split(":")[0], line


def test_python_is_found() -> None:
    assert 2 * len([code for code, _ in pieces() if code]) == README.count("```") > 0


@pytest.mark.parametrize("section", re.split(r"^## ", README, flags=re.M)[1:])
def test_sections_are_short(section: str) -> None:
    lines = [line for line in section.splitlines()[1:] if line.strip()]
    assert len(lines) <= LONGEST


def helps(command: Any, *words: str) -> Iterator[str]:
    """The help of a command and of all below it, each as one line."""
    yield " ".join(CliRunner().invoke(app, [*words, "--help"]).output.split())
    for name, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, *words, name)


def test_words_are_everybodys() -> None:
    for text in (README, *helps(get_command(app))):
        found = [word for word in PRIVATE if re.search(rf"\b{word}\b", text, re.I)]
        assert found == [], text
