"""The processor: takes batches, keeps the books, follows calls and flows, writes recordings and tables.

Neighbours: the sensor makes the batches (it is never imported here), `packhound.wire` is what both sides agree on,
`packhound.net` reads bytes. Inside: `service` joins `intake` -> `track` -> `store`, each knowing only those before it.
Alone that is all; in a fleet `groups` settles what `service` did, in one step with `shared`, and `worker` leads both.

Does not belong here: capture, matching, anything that decides what is wanted.
"""
