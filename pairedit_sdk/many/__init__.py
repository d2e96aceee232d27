"""Many edits on one base: a manifest of them, trained here in order or by the workers of a Ray."""
