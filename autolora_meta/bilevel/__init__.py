"""What makes betty fit LoRA: problems, engine, and the options of a search."""
