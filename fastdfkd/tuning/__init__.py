"""Finding settings and showing what they are worth: sweeps with Ray Tune, and comparisons.

    space file -> search_space -> sweep (Ray Tune) -> trial (a whole run) -> trial_log -> findings

START HERE: `sweep.py` for finding settings, `comparison.py` for 10x and 100x against a reference.
"""
