"""Shares hashed in batches by machine code: `stratum.shares.Hasher` as fast as this CPU allows."""

from potnode.sharehash.native import NativeHasher, ShareHashError, fastest_hasher

__all__ = ["NativeHasher", "ShareHashError", "fastest_hasher"]
