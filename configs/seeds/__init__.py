"""The recipes of five public projects, S0 to S4; see results/reproduction.md."""
