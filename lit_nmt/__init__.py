"""Neural machine translation architectures, trained and judged on one footing."""
