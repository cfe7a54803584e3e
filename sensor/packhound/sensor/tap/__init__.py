"""Where packets come from: live interfaces and capture files, as blocks of frames with drop counts.

Neighbours: `packhound.sensor.kernel` lends the native walkers and consumes the blocks. Does not belong here:
anything that looks inside a packet further than its link type, and anything that decides what is kept.
"""
