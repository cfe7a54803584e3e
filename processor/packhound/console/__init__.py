"""People's tools: the command line.

Neighbours: `packhound.run` does what the commands ask. Does not belong here: anything a program would want without a
terminal.
"""
