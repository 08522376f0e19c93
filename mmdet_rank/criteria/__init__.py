"""From what a head predicted to a dict of losses: instance weights and task balance."""
