"""The exhibits, one file each. A file put here is an exhibit: there is no other list."""
