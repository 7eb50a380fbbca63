"""Acts. Knows nothing of plans, policies or prompts; never imports `orchestrator`."""
