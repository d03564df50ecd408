"""`hf:`: multimodal language models run here, through transformers."""
