"""Samples as other programs want them: Parquet and Hugging Face datasets, fine-tuning conversations, VLMEvalKit."""
