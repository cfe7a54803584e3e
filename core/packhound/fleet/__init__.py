"""What every process of a fleet does alike on the bus: streams, permissions, plans, heartbeats, media watches.

Neighbours: sensors, processors and whoever publishes filters use it over `packhound.kit.bus`; names and messages are
those of `packhound.wire`. Does not belong here: what a plan means (`packhound.rules`), parcels (the sensor's link, the
processor's intake), Kubernetes.
"""
