"""What any person sees: words and tables for the terminal, progress, the look of figures, notebooks run."""
