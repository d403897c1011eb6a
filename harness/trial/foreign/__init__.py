"""Load generators other than the lab's as the load of a trial: what is said of it then are the tool's own words."""
