"""The user's own edits as a basis, and the encoder that picks among them."""
