"""Sources of data, and the prepared arrays that stages read."""
