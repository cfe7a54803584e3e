"""What goes on across batches: calls by Call-ID, flows by serial. Pure, bounded, packet time as `now`.

Neighbours: `intake` before it, `store` after it (rows go to tables, names into comments).

Does not belong here: files, SQL, parsing of packets.
"""
