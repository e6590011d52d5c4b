"""One loop for every method: state, optimisers, schedules."""
