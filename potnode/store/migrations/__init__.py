"""The history of the schema, as alembic reads it.

One file per change under `versions`, each naming the one before. They are written by hand and never
changed once released; a test holds their sum against `potnode.store.models`.
"""
