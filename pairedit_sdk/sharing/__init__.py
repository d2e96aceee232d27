"""Edits on the Hugging Face Hub and in libraries on URLs."""
