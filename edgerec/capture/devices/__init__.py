"""Which input a track means, and whether its stream still comes from that input."""
