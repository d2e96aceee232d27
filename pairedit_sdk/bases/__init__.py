"""Frozen base models behind one protocol."""
