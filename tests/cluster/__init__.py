"""More than one machine: launchers, Slurm, machines that are taken away, remotes."""
