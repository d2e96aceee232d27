"""Files, caches, locks and what a process needs: nothing here knows of models or pictures."""
