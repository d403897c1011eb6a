"""Notebook 05: open files."""
