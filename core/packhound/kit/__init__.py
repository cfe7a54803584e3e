"""What every process needs and no packet cares about: settings, logs, errors.

Neighbours: sensor, processor, operator, console and run import this; it imports nothing else of packhound, so that it
could be published by itself. Does not belong here: anything that knows what a packet, a filter or a flow is.
"""
