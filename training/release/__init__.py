"""Whether a new model may replace the one in use, and which one that is."""
