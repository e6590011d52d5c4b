"""What runs show: difficulty, comparison, errors of gradients."""
