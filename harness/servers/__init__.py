"""The servers under test: the catalogue, how they are built, and one of them running."""
