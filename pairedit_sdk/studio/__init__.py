"""The studio: a page, and the same as an HTTP API, over one loaded model and a library of edits."""
