"""Trained runs scored: one, an ensemble, on corrupted images, on image files."""
