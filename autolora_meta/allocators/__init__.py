"""The ways to choose ranks, one a file: ours among its peers and controls.

Each module holds an `ALLOCATOR`, registered as an entry point of `autolora_meta.allocators`, so
that another package can add one.
"""

from autolora_meta.allocators.replicate import Allocator, Replicate

__all__ = ["Allocator", "Replicate"]
