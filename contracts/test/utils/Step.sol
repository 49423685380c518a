// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

struct Miner {
    address account;
    uint8 bits;
    bytes script;
}

struct Template {
    uint8 age;
    bytes32 prevHash;
    bytes4 nbits;
    uint16 scriptAt;
    bytes coinbase;
    bytes32[] branch;
}

struct Entry {
    uint8 template;
    uint16 miner;
    bytes16 extranonce;
    bytes4 version;
    bytes4 ntime;
    bytes4 nonce;
    uint40[] losses;
}

/// @notice A step record, taken apart.
struct Step {
    bytes32 job;
    uint32 step;
    Miner[] miners;
    Template[] templates;
    Entry[] entries;
    bytes32 dataRoot;
    bool validation;
    uint40 validationLoss;
    uint32 hits;
    bytes32 stateRoot;
}
