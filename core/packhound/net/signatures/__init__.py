"""What the first payload of each protocol looks like: one small function per protocol, grouped by how it speaks.

Every function takes a `Look` and answers a `Found` or None. It is pure, never reads past the payload, and prefers a
miss to a false verdict. `kernel/_detect_*.pxi` holds the native twin of each module here.

Neighbours: `packhound.net.detect` puts them in order. Does not belong here: parsing for fields (the parsers of
`packhound.net`), which flow a packet belongs to.
"""
