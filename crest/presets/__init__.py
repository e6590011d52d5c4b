"""Ready-made set-ups: each file sets some sections of params.yaml."""
