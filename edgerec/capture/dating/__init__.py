"""Dates of the newest captured frame, asked of the sound server."""
