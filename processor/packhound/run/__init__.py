"""One machine: sensor and processor in one process, and what else joins portions (the composition root).

Neighbours: `console` calls these with checked arguments; `sensor` and `processor` do the work and do not know each
other. Does not belong here: parsing, matching, storing, printing.
"""

from packhound.sensor.tap.errors import TapError

__all__ = ["TapError"]
