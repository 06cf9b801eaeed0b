"""Layer 7: inline SVG, made here: text stays text, colours come from the page's style sheet."""
