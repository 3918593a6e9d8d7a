"""Hyperparameter sweeps with Ray Tune.

    space file -> search_space -> plan -> sweep -> tune_run (Ray Tune) -> trial (one whole run)
               -> trial_log -> sweep_report

START HERE: `sweep.py`.
"""
