"""Trains teachers on real images and students on the bank; evaluates both; writes checkpoints."""
