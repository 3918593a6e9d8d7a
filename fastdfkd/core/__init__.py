"""The algorithm in plain torch. Nothing here knows Ray, MLflow or files."""
