"""Stages: run(params, paths), files in, files out; the only place with I/O."""
