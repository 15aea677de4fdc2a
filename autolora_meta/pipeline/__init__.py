"""Pipeline: one verb a file, and the records that pass between them."""
