"""Where block templates come from, and how a template becomes a miner's job."""
