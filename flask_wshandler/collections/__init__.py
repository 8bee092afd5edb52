"""Handlers that are told the same: the members here, and what is known of those elsewhere."""
