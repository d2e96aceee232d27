"""Building the built-in models anew. Only the command line and the Makefile use it."""
