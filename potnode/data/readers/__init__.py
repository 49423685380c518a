"""Readers of what researchers have: one module a format, each giving `potnode.data.source.Arrays`.

A reader says what stands in its source and nothing more. Classes, scaling and the split into
training and held-out samples are `potnode.data.recipe`'s.
"""
