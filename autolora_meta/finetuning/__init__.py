"""The ordinary side of a run: data, tasks, models, batches, and retraining with stock tools."""
