"""Compare runs with a reference: speed-ups, accuracy, tables, pictures and a report."""
