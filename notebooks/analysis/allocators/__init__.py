"""Notebook 03: allocators compared."""
