"""Submit a recipe to a Ray cluster as a Ray job, and follow the job's log."""
