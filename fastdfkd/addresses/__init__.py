"""Addresses given by users: which service answers there, and the credentials it needs."""
