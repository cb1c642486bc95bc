"""Recipes for accuracy at a number of parameters, and for speed; see results/frontier.md."""
