"""The operator: what users declare, as a running fleet and as plans in its sensors.

Role: reads HuntFleets, HuntFilters, pods and nodes; writes workloads, plans, pod tables and statuses. The only part
with rights on the Kubernetes API. `desired`, `targeting`, `rollout` are pure; `cluster` is the door to the API.

Does not belong here: anything that sees a packet (`packhound.sensor`), or keeps one (`packhound.processor`).
"""
