"""Several work folders side by side: runs in, a table and a page of curves out.

The way through: `names` of the runs, `groups` of those that differ by seed, the `table`
and what is to be known of it (`notes`), its `formats` and the `page`; `compare` calls
them.
"""
