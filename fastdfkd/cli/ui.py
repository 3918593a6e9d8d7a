"""Serves the MLflow UI for the project's store, on the loopback address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from fastdfkd.addresses.credentials import with_credentials
from fastdfkd.tracking import store_uri
from fastdfkd.tracking.store import open_store

_HOST = "127.0.0.1"


def show(port: int, say: Callable[[str], None], experiment: str = "fastdfkd") -> int:
    """Serve the UI until it is interrupted; return the exit code of the server.

    A store that is an HTTP server has its own UI; then only its address is printed.

    Args:
        port: port to listen on.
        say: called with each message, such as the links.
        experiment: experiment to link, with its newest comparison.

    Raises:
        TrackingError: the store cannot be opened.
        ValueError: the port is in use.
    """
    uri = store_uri(None)
    store = open_store(uri, experiment)
    if uri.startswith("http"):
        say(f"The store is a server with its own UI: {uri}")
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ValueError(f"port {port} cannot be used ({error}): give another --port") from None
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
    say("Ready within a minute. Press Ctrl-C to stop.")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", _HOST, "--port", str(port)]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Not on the command line: other users can read it, and the URI may contain a password.
        "MLFLOW_BACKEND_STORE_URI": with_credentials(uri),
    }
    process = subprocess.Popen([*command, "--workers", "1"], env=environment)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()
