"""Handlers that are told the same: the members here, those in other processes, and who they are."""
