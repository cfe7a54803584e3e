"""How parcels arrive: from NATS, over gRPC, in process; which were seen (`ledger`), and whose they are (`shards`).

Neighbours: `packhound.wire` is what arrives; `processor.service` takes it, in a fleet from `processor.worker`.

Does not belong here: what a batch means (`track`), where it ends (`store`), when it is acknowledged (`groups`).
"""
