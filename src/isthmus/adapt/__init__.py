"""Layer 4: closed-form domain adaptation on features; one file a method."""
