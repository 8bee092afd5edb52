"""Measures this package and its peers: one server, one load, one figure after the other.

`peers` says what is compared, `scenarios` what is measured, `runner` has both meet in turns,
`report` and `charts` show what came out. Needs nothing but the standard library: the peers run in
an environment of their own.
"""
