"""Notebook 02: the backlog sweep."""
