"""Published files read back: trees, continuity, verification, turns."""
