"""The drawn faces that the built-in model knows, and their attributes."""
