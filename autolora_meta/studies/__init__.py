"""Comparisons and studies: the same work over arms and seeds."""
