"""How parcels leave the sensor: one module per kind of link, all with the meaning of `base.Link`.

Neighbours: the sender takes parcels out of the spool and gives them to a link; `packhound.kit` holds the doors to the
libraries. Does not belong here: when to send, to retry or to wait (`flowcontrol`, `sender`), what is in a parcel.
"""
