"""Corpora: from parallel text to batches of subword ids."""
