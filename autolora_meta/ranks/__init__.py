"""From scores of rank-1 components to an integer rank for each layer; nothing here trains."""
