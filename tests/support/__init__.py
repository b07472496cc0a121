"""What tests share: tiny models, inputs for them, comparisons, and helpers that workers import."""
