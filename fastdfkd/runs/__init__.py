"""The files of a run: its folder, lock, metrics, result and status, read and written here alone."""
