"""Layer 7: the sections of the report, one file each: a run in, what the template shows out."""
