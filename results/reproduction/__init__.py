"""Five projects' recipes: rows, how they are trained and kept, and tables."""
