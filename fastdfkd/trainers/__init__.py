"""Training on real images (the sample teachers), training on the bank, and judging the result."""
