"""Is all in order: what is looked at, and what to do where it is not."""
