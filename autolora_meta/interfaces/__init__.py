"""What we do inside of other people's programs: PEFT, transformers' Trainer, TRL."""
