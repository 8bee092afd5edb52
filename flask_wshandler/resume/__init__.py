"""Connections that outlive the network: what is kept for a client that is away, and its return."""
