"""Training: one loop for every method, optimisers, schedules, devices and precision."""
