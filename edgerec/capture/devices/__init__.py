"""The inputs of a machine, the one that a track means, and the watch on it."""
