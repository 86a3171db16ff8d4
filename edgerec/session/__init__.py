"""What the threads of a recorder share."""
