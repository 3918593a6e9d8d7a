"""The MLflow UI on the project's store, for this machine alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from fastdfkd.addresses.credentials import whole
from fastdfkd.tracking import store_uri
from fastdfkd.tracking.store import open_store

_HOST = "127.0.0.1"


def show(port: int, say: Callable[[str], None], experiment: str = "fastdfkd") -> int:
    """Serve the UI on the loopback address until it is interrupted; its exit code.

    Args:
        port: to listen on.
        say: told the links.
        experiment: whose newest comparison is linked.

    Raises:
        TrackingError: the store cannot be opened.
        ValueError: the port is taken.
    """
    uri = store_uri(None)
    store = open_store(uri, experiment)
    if uri.startswith("http"):
        say(f"The store is a server with a UI of its own: {uri}")
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be used ({error}): name another --port") from None
    link = f"http://{_HOST}:{port}/#/experiments/{store.experiment_id}"
    say(f"Runs:       {link}/runs")
    runs = store.client.search_runs(
        [store.experiment_id],
        "attributes.run_name LIKE 'compare %'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    if runs:
        say(f"Comparison: {link}/runs/{runs[0].info.run_id}")
    say("Ready within a minute; Ctrl-C ends it.")
    line = [sys.executable, "-m", "mlflow", "ui", "--host", _HOST, "--port", str(port)]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": whole(uri),  # a password in a command line is seen by all
    }
    process = subprocess.Popen([*line, "--workers", "1"], env=environment)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()
