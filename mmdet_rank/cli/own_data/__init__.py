"""`mmdet-rank train DATA`: from pictures and labels to a detector, a config and a report."""
