"""The stages of dvc.yaml, and the commands: files in, files out."""
