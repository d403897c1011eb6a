"""What the notebooks compute, draw and say: one folder for each, the article's claims, the generated pages."""
