"""Many runs by one command: a grid's members, and the ways to train them at once."""
