"""Loops in machine code: vector instructions, and the passes over candidates built of them."""
