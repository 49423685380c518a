"""SHA-256 in machine code: LLVM IR is written here and compiled for the CPU it runs on.

`potnode.machinecode.hashing.MessageHash` hashes many short messages at once. Other parts write code
of their own with what is here: the miner, and the pool for the shares it is sent.
"""
