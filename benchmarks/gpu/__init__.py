"""A short look at a GPU: checks, tests, tables of costs, and the whole product, within a budget."""

import time

BEGAN = time.monotonic()
"""When this was imported, before torch."""
