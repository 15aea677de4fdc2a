"""Bilevel formulations, one file each; a file reads like the algorithm of its paper."""
