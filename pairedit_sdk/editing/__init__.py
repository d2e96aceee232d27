"""Applying edits to pictures: options, FlowEdit, composition, scale limit, inversion."""
