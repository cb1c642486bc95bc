"""The accuracy frontier: rows, how they are trained and kept, tables and figures."""
