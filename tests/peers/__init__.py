"""The same networks in NEST and in Brian2: `make peers`."""
