"""User output: sample grids, tables, pictures, progress bars, speed-ups, the status screen."""
