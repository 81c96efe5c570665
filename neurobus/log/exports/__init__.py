"""Other programs' formats, a file each; `neurobus.log.export` has the list."""
