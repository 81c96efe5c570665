"""The figures of merit, each beside a peer: `python -m tests.bench`."""
