"""Executors of other systems: dask, Ray, and Slurm through submitit."""
