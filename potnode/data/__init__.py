"""Datasets: the canonical file in memory, making such files, and finding them by name or root.

The file's format and root are rules of the protocol (`potnode.spec.dataset`); this package applies
them to whole files at speed.
"""
