"""How the service is: levels, gaps, signal quality, status."""
