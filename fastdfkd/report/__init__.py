"""What a user is shown: sample grids, the table of settings, pictures, speed-ups."""
