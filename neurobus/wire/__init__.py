"""Bytes on the bus, and nothing else: encode and decode, no sockets."""
