"""Pictures: reading, writing, resizing, and drawing collages and curves."""
