"""Takes predictions, outcomes and people's decisions, keeps them, and answers with aggregates."""
