"""A learned edit, its file and what the file says of it, and the library of saved edits."""
