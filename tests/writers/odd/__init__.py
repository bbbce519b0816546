"""Image files in every way that real programs save them, with the grey levels that a reader must find in them.

Nothing here uses the product's reader. `python -m odd FOLDER` (with this folder's parent on the path) writes them all.
"""
