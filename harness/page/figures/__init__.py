"""Figures that several notebooks draw, a family a file."""
