"""A training's own files, its processes and its optimiser."""
