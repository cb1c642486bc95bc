"""Recipes for accuracy by size, and for speed; see results/frontier.md."""
