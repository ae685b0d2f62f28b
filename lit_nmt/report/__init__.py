"""From tables of results to pages."""
