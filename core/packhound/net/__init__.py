"""What the bytes of the wire mean: frames, flows, fragments, streams and one parser per protocol.

Pure: bytes and `now` come in, values go out; nothing here opens a socket or file, reads a clock, logs or starts a
task. Every parser answers hostile bytes with a value (`Malformed`, a `Status`), never with an exception, and its time
and memory are bounded by its arguments.

Neighbours: `packhound.rules` judges what is read here; the sensor's compiled kernel is a twin of the hot parts and is
tested against them packet by packet.

Does not belong here: capture files and interfaces (sensor `tap`), filters (`packhound.rules`), messages between
processes (`packhound.wire`).
"""
