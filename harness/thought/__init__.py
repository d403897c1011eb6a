"""Pure functions of tables: causes, checks, statistics, what one run comes to."""
