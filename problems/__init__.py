"""Bilevel formulations: one file each, written to read like the algorithm of its paper."""
