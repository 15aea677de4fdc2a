"""Configuration of a run: the options of each part put together, and overlays read from YAML."""
