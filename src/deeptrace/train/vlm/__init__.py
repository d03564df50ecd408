"""What the trainings of language models share: examples, frames, packing, loss, attention, models."""
