"""How torch's devices are used: transfers, generators, precision, memory, processes."""
