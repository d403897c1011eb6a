"""Notebook 06: kernel settings."""
