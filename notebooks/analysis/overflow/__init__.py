"""Notebook 04: why connections fail when the accept queue is full."""
