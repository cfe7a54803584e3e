"""What people and tools are shown of what was hunted: live streams and answers to questions, over gRPC.

Role: takes events from the processor's thread, gives each subscriber what it may see. Neighbours: `service` feeds it,
`packhound.wire.v1.events` is its language. Does not belong here: anything that changes what is recorded or counted.
"""
