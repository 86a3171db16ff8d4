"""State that the threads of a recorder share."""
