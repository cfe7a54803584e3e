"""What processors of one fleet share: who owns which shard, what is settled, the state of calls and flows, the books.

Neighbours: `processor.groups` settles groups of parcels through it, `processor.worker` keeps leases in it. `state` says
what it promises, `redis` keeps it for many hosts, `sqlite` for several processes of one host.

Does not belong here: what calls and flows are (`track` turns them into bytes), files (`store`).
"""
