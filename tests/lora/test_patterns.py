"""peft's patterns mean what they mean to peft, and none of them can take for ever."""

import re

import pytest

from pairedit_sdk.lora.patterns import matches

NAMES = [
    "transformer_blocks.0.attn.to_q", "transformer_blocks.12.attn.to_out.0", "to_q", "proj_out",
    "single_transformer_blocks.3.attn.to_k", "transformer_blocks.0.attn_to_q", "atto_q", "",
]  # fmt: skip
PATTERNS = [
    "to_q", "attn.to_q", "^to_q$", "^transformer_blocks.0.attn.to_q", ".*to_q", r".*\.to_q$",
    r"transformer_blocks\.\d+\.attn\.to_[qk]", r".*\.(to_q|to_k)", "(?:to_q|proj_out)", "to_q|to_k",
    r"transformer_blocks\.(0|1\d)\..*", "t?o_q?", "[^.]+", r"\w+", "to_out.0", "", ".", "x*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", NAMES)
def test_as_peft_matches(pattern: str, name: str) -> None:
    assert matches(pattern, name) == bool(re.fullmatch(rf"(.*\.)?({pattern})", name))


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(.*)*x", "(a|b){99}", r"\1", "(?=a)", "(", "[", "(a|b)" * 9, "a" * 301]
)
def test_what_is_no_plain_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no pattern|too"):
        matches(pattern, "a")


def test_many_repetitions_are_followed_at_once() -> None:
    """Python's own matcher would try more ways here than there are atoms."""
    assert not matches(".*" * 60 + "x", "a" * 300)
    assert matches(".*" * 60, "a" * 300)
