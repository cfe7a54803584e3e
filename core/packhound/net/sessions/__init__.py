"""How a flow of one protocol is followed: one small state machine per protocol, over the parsers of `packhound.net`.

Neighbours: `packhound.net.session` opens them by application id; each hands its bytes to a parser of `packhound.net`
and returns facts. What does not belong here: parsing of single messages, clocks, sockets, and any state of more than
one flow.
"""
