"""The run on Ray: placement, actors and the bank of images. Start reading at `pipeline`."""
