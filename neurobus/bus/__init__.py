"""The only home of ZeroMQ: the hub (wall clock), the conductor (virtual clock), and peers of either."""
