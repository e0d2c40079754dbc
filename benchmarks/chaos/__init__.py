"""A night in minutes: real agents among troubles at random, and an account of what was lost and what came twice.

    python -m benchmarks.chaos --minutes 10 --seed 1
    python -m benchmarks.chaos --kills 200 --events 100000
    python -m benchmarks.chaos --minutes 5 --kills 30 --agents 3 --projects 30 --store embedded

``schedule`` decides what happens when, from the seed alone; ``run`` sets it all up, ``troubles`` makes it happen,
and ``ledger`` counts and judges.
"""
