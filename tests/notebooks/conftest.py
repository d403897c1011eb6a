"""These tests start something."""

from tests.leaving import nothing_is_left  # noqa: F401 (a fixture)
