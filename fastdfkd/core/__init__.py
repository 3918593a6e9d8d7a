"""The algorithm in plain torch. It imports no Ray and no MLflow, and opens no files."""
