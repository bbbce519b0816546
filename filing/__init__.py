"""What lies on disk and how it gets there safely; knows no service."""
