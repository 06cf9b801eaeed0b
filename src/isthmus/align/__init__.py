"""Layer 4: trained alignment objectives, one file a method; the folder is the registry."""
