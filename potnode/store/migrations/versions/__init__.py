"""Migrations in their order; the number at the beginning of a file's name is its revision."""
