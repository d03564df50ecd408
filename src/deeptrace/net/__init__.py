"""Talking to servers: one chat client, endpoints and keys, one retry policy, resumed downloads."""
