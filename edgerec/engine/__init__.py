"""The threads that record, and how they are built."""
