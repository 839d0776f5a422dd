"""Slides and skin pictures: the bank, encoders, what leaves."""
