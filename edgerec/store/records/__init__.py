"""Records about a file: its name, layout, gaps and sidecar."""
