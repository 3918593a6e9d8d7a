"""Records runs while they go on: in MLflow, and the same rows in `metrics.csv`.

    with Recorder(recipe, directory, run_name="digits-fast5") as recorder:
        recorder.log({"updates": 10, "loss": 1.2})
        recorder.finish(result)

Training never waits for MLflow: a writer thread sends the rows. If MLflow fails during the run, a
warning is logged and the run goes on; `metrics.csv` has all rows in any case. The import of MLflow
takes seconds, so it is done when a store is opened.
"""

from fastdfkd.runs.metrics import COLUMNS, Row, read_rows
from fastdfkd.tracking.parent import ParentRun
from fastdfkd.tracking.recorder import Recorder
from fastdfkd.tracking.registry import RegisteredModel, check_names, register
from fastdfkd.tracking.store import TrackingError, check_reachable, open_store, store_uri

__all__ = [
    "COLUMNS",
    "ParentRun",
    "Recorder",
    "RegisteredModel",
    "Row",
    "TrackingError",
    "check_names",
    "check_reachable",
    "open_store",
    "read_rows",
    "register",
    "store_uri",
]
