"""Labelled folders -> images in memory, dealt out so that the test is honest."""
