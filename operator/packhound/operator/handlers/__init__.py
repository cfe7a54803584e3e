"""What kopf calls: one small module per kind, a few lines each.

Neighbours: `packhound.operator.__main__` registers them; they hand every event to the director. Nothing is written on
users' objects: no annotation, no finalizer of kopf's. Does not belong here: any decision.
"""
