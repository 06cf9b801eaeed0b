"""Layer 3: how far apart are two domains? One measure a file, pure functions of features.

The function carries the name of its file: ``from isthmus.discrepancy.mmd import mmd``.
Nothing is re-exported here, so that the names of files and functions do not hide each other.
"""
