"""Configs: `default` explains every field; the others change only what differs."""
