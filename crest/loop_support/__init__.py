"""What :class:`crest.Coresets` is built from."""
