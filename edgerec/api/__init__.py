"""The recorder inside a program: start and stop it, react to its events, push audio.

The public names are those of `edgerec` itself. In the order in which things happen: `recorder`
(what you call), `events` (what handlers receive), `held_file` (the audio of an event), `relay`
(from the service's announcements to events), `dispatcher` (runs handlers, off the audio path),
`feeding` (audio that you push).
"""
