"""Notebook 00: a first look."""
