"""Tracks that applications push their audio into."""
