"""Adapters in the forms that other tools take: `autolora-meta export`."""
