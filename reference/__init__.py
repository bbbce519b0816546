"""What docs/reference.md is made of: everything in it is read from the code, so that none of it can grow old."""
