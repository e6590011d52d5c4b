"""What the stages share: paths, manifests, saved states, runs, pages."""
