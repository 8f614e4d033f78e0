"""What was compiled, why, and what it costs: explanations, stages as text, tables, and a page for the browser."""
