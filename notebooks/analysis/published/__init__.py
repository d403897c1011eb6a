"""Notebook 08: the published benchmark."""
