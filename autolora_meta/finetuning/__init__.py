"""Ordinary fine-tuning: data, tasks, models, batches, and retraining with stock tools."""
