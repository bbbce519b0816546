"""The model in use, and the threads that judge with it."""
