"""Configuration of a run: the options of all wings in one record, and overlays read from YAML."""
