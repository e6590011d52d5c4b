"""What the stages share: paths, saved states, runs, reports."""
