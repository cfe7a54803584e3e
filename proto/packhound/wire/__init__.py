"""What travels between sensor and processor: batches of packets and the books that prove nothing was lost.

Pure values: nothing here opens a socket or file, reads a clock, logs or starts a task.

Neighbours: the sensor's batcher makes batches, the processor's intake takes them; both keep books by the same identity.

Does not belong here: how batches travel (links), what is in a packet (`packhound.net`), what is hunted
(`packhound.rules`).
"""
