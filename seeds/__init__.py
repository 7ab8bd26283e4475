"""Human-written seed tasks and the task categories."""
