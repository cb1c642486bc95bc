"""Trains the rows of results/frontier.md; see `results/frontier/train.py`."""

from results.frontier.train import main

if __name__ == '__main__':
    main()
