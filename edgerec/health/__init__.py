"""State of the service: levels, gaps, signal quality, status document."""
