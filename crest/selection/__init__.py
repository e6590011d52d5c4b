"""Selection by gradients: medoids, matching, weights."""
