"""The mathematics: no models, no files, no devices. Symbols are those of docs/method.md."""
