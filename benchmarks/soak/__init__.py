"""An hour of attacks on a run: kills, damaged files, odd input, long searches."""
