"""The sensor: wire to match to batch to link, on the node, with bounded memory.

Neighbours: `packhound.rules` says what to hunt, `packhound.wire` how batches travel; the processor is on the other
side of the link and is never imported. Does not belong here: Kubernetes, storage, anything that needs a database.
"""
