"""What a run leaves behind while it goes: an MLflow run, and the same rows in `metrics.csv`.

    with Recorder(recipe, directory, run_name="digits-fast5") as recorder:
        recorder.log({"updates": 10, "loss": 1.2})
        recorder.finish(result)

Training never waits for MLflow: rows go to a writer thread, and what MLflow refuses in mid-run
costs a warning; the rows are in `metrics.csv` all the same. MLflow takes seconds to import, so
nothing here imports it before a store is opened.
"""

from fastdfkd.runs.metrics import COLUMNS, Row, read_rows
from fastdfkd.tracking.parent import ParentRun
from fastdfkd.tracking.recorder import Recorder
from fastdfkd.tracking.store import TrackingError, check_reachable, open_store, store_uri

__all__ = [
    "COLUMNS",
    "ParentRun",
    "Recorder",
    "Row",
    "TrackingError",
    "check_reachable",
    "open_store",
    "read_rows",
    "store_uri",
]
