"""From scores of rank-1 components to an integer rank per layer; knows nothing of training."""
