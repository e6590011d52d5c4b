"""Regions: where a quadratic model of the loss is valid."""
