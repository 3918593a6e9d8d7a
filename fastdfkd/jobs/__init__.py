"""Submit a recipe to a Ray cluster as a job, and follow its log."""
