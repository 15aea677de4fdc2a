"""Configurations that come with the package: one YAML file each, found by its bare name."""
