"""Regions: where one quadratic model of the loss, and so one set of coresets, remains valid."""
