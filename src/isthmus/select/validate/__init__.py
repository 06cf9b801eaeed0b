"""Layer 6: label-free validators, one file each; `base.discover` lists them."""
