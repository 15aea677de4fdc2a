"""What was learned, in the forms that other tools take: `autolora-meta export`."""
