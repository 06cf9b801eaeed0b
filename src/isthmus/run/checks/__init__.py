"""Layer 8: what can be found with the backbone and its features: one file an idea.

A module of this folder is a check if it has ``find(view: ModelView) -> Iterable[Finding]``; the
folder is the registry. Those that need raw data only lie in `isthmus.data.checks`.
"""
