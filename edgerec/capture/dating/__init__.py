"""When the newest frame was captured, asked of the sound server."""
