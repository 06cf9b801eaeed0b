"""Layer 5: penalties that keep a fine-tuned network near what it knew; one file a method."""
