"""Typed calls between a page and its handler, both ways: JSON-RPC 2.0 over any connection."""
