"""Reads image files: one module a format, one for what several share."""
