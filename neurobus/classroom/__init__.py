"""Samples, timetable, answers: the pure parts of `neurobus train`."""
