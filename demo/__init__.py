"""The demo: from nothing to judged images in a few minutes."""
