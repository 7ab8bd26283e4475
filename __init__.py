"""Seedbed grows an instruction-tuning set from seed tasks and trains a LoRA adapter each time it is ripe."""

__version__ = "0.1.0"
