"""The operator's console: what the agent thinks, and the ways to steer and to stop it."""
