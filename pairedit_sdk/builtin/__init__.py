"""The built-in model: the drawn faces it knows, how it is built, and its weights."""
