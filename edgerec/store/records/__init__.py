"""What is written down about a file: its name, layout, gaps and sidecar."""
