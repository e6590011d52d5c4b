"""Devices: transfers, generators, precision, memory, processes."""
