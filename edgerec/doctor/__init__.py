"""What checks a machine before or beside a recording."""
