"""Frozen flow models behind one protocol: loading, precision, offload, prompts."""
