"""Pictures: reading and writing them, collages and curves of them, and what is measured on them."""
