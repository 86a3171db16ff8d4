"""Deletes published files, oldest first, within the configured limits."""
