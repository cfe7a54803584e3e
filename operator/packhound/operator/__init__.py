"""The operator: what users declare, as a running fleet and as plans in its sensors.

Role: reads HuntFleets, HuntFilters, pods and nodes; writes workloads, plans, pod tables and statuses. The only part
with rights on the Kubernetes API. Events come in through `watching` and `handlers`, `inventory` is what is known,
`director` decides when; `courier` and `push` tell sensors, `scribe` writes statuses, `works` applies objects. What
these decide is pure: `targeting`, `desired`, `rollout`, `hearing`, `admission`, `lease`. `cluster` is the door to the
API.

Does not belong here: anything that sees a packet (`packhound.sensor`), or keeps one (`packhound.processor`).
"""
