"""Ray: what runs where, and what passes between. Start reading at `pipeline`."""
