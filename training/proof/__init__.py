"""What a model can do, what a test proves of it, and the report that says so."""
