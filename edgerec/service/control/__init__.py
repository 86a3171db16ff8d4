"""The control socket: its server, its commands, its client."""
