"""Labelled folders -> a tested and promoted model. The daemon never imports this."""
