"""What is kept of an evaluation: per-item tables and their schemas, and the table of metrics."""
