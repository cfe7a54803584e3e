"""What goes on across batches: calls by Call-ID, flows by serial, all by shard. Pure, bounded, packet time as `now`.

Neighbours: `intake` before it, `store` after it (rows go to tables, names into comments). What is tracked of a shard
can be saved and taken up by another processor.

Does not belong here: files, SQL, parsing of packets.
"""
