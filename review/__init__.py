"""What operators say of verdicts, and what the data set learns from it."""
