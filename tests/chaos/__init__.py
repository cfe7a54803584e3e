"""A fleet of real processes on hosts that are network namespaces, and the faults it must survive.

`python -m tests.chaos --seed 1 --rounds 20` runs the fault table and prints the books of each round.
"""
