"""Layer 7: template, style and script of the page; read as text, never imported from elsewhere."""
