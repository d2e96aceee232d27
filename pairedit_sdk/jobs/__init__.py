"""From pairs to edits in the library: one, or the many of a manifest, here or on Ray."""
