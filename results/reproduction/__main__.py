"""Trains the rows of results/reproduction.md; see `results/reproduction/train.py`."""

from results.reproduction.train import main

if __name__ == '__main__':
    main()
