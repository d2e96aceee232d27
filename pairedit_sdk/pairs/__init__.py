"""Before/after pairs: reading and checking them, their direction and their latents."""
