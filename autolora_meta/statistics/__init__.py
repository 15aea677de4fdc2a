"""Statistics: paired differences, intervals, stability over seeds, and what may be claimed."""
