"""Fuzzing: damaged bytes for every reader, and for the routes of the server.

`python -m fuzz` (or `make fuzz MINUTES=30`) damages small valid files at random, reads them as the
app does, and counts what came of it. A reader may return an image or raise an `InputError` of one
line; anything else is a finding, and the file that caused it is kept.
"""
