"""A trained model as one file: written, sealed, and read from wherever it comes."""
