"""edgerec in a program of yours: a recorder to start and stop, events to react to.

What is public is named in `edgerec` itself. In the order in which things happen: `recorder` (what
you call), `events` (what you are told), `held_file` (the audio behind an event), `relay` (from the
service's announcements to events), `dispatcher` (your handlers, off the audio path), `feeding`
(audio that you push).
"""
