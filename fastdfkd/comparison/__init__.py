"""Compare settings with a reference: speed-ups, accuracy, tables, pictures and a report.

START HERE: `compare.py`, or `tracked_runs.py` for runs that are already in MLflow.
"""
