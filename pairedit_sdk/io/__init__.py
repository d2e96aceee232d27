"""Files, caches and what a process needs: nothing here knows of models or pictures."""
