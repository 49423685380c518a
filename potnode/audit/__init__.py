"""Audit: a job rebuilt from its chain and its dataset alone, every number recomputed."""
