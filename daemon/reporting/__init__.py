"""What the daemon tells of itself and of the line: status, metrics, drift."""
