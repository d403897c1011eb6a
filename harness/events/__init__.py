"""The truth: the tables of a run, how they are assembled from what agents wrote, and where they are kept."""
