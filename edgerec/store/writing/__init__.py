"""From the timeline to durable, published files; and what a crash left of them."""
