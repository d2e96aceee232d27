"""Benchmarks on drawn faces, where the true result is known. Only the command line uses it."""
