"""Formats: the block stream, traces, WAV and raw PCM files, and the pipe between processes."""
