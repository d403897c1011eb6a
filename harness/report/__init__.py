"""What the terminal says: progress on standard error, results on standard output."""
