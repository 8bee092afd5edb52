"""Typed calls: hubs, their clients, and what speaks JSON-RPC 2.0 to them."""
