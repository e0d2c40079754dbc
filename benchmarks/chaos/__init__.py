"""A long night in minutes: real agents under random faults, and a count of lost and repeated notifications.

    python -m benchmarks.chaos --minutes 10 --seed 1
    python -m benchmarks.chaos --kills 200 --events 100000
    python -m benchmarks.chaos --minutes 5 --kills 30 --agents 3 --projects 30 --store embedded

``schedule`` derives the time of each fault from the seed alone. ``run`` sets up a run, ``faults`` causes the
faults, and ``ledger`` compares due and arrived notifications.
"""
