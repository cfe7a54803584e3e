"""Parcels on disk until the far side has them: every parcel goes through here, before it is sent.

Role: write-ahead log of a sensor. `records` is the form of one record, `segments` a file of them, `spool` the whole.
What was appended survives the death of the process at any moment; not the loss of power, for which nothing is synced
but what is left at an orderly end. Does not belong here: when and how to send (`sensor.sender`, `sensor.flowcontrol`).
"""

from packhound.sensor.spool.limits import SpoolLimits
from packhound.sensor.spool.spool import Spool

__all__ = ["Spool", "SpoolLimits"]
