"""What filters mean: compiled plans, their evaluation, and what can be decided early.

Neighbours: `api` and `fields` below (what a user may write), the sensor above (carries verdicts out). Does not belong
here: reading packets (net), clocks, sockets, logging.
"""
