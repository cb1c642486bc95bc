"""The learning-rate range test: a run whose rate rises until it diverges."""
