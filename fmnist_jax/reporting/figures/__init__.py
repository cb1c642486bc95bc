"""Figures for people, one file each; every function returns a Matplotlib `Figure`.

Matplotlib takes half a second to import: import these modules where they are used.
"""
