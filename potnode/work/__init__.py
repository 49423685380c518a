"""Where block templates come from, how one becomes a miner's job, and where found blocks go."""
