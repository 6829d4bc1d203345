"""HTTP API on the Unix socket, and its client.

This file imports nothing: ``aiidpctl`` loads ``api.client``, which depends on the standard library
alone, and must not pay for the server's libraries.
"""
