"""Pipeline: one verb a file, and the records that they hand on."""
