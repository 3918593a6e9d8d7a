"""The files of a run: folder, lock, metrics, result and status. No other package opens them."""
