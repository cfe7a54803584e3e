"""Fuzzing: damaged input for every parser, session, reader and kernel, and what must hold whatever comes.

`python -m tests.fuzz.run --help` drives it; docs/fuzzing.md says what was run and what it found.
"""
