"""Generated pages: the audit, the calibration, the data card, the data dictionary."""
