"""Long trials of what must hold whatever is killed, and when: see tests/README.md."""
