"""A new line: its folders, its configuration, and what its files' names say."""
