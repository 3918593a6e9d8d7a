"""Addresses that users give: which service answers there, and the credentials it needs."""
