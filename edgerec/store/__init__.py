"""Store: from the timeline to durable files."""
