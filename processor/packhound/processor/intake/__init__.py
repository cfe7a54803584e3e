"""How batches arrive: bounded queue of the in-process link, and the ledger of sequence numbers.

Neighbours: `packhound.wire.batch` is what arrives; `processor.service` takes it from here.

Does not belong here: what a batch means (`track`), where it ends (`store`).
"""
