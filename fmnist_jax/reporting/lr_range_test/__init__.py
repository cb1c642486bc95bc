"""What a learning-rate range test comes to: its curves, a suggestion, files."""
