"""From the timeline to durable, published files; repairs what a crash left of them."""
