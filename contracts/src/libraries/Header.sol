// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Header
/// @notice The 80 bytes that an ASIC hashes, their hash, and the target it is held against.
/// @dev A header, all fields as they are on the wire:
///
///      | offset | bytes | field         |
///      |--------|-------|---------------|
///      |      0 |     4 | version_le    |
///      |      4 |    32 | prev_hash_le  |
///      |     36 |    32 | merkle_root   |
///      |     68 |     4 | ntime_le      |
///      |     72 |     4 | nbits_le      |
///      |     76 |     4 | nonce_le      |
///
///      nbits is the parent chain's own target and has no say here: a share is held against its miner's bits.
library Header {
    uint256 internal constant LENGTH = 80;

    /// @notice sha256(sha256(memory[at : at + length])).
    function sha256d(uint256 at, uint256 length) internal view returns (bytes32 digest) {
        // Assembly: `sha256()` copies its argument and allocates its result; a record needs hundreds of hashes.
        // Memory-safe: reads what the caller built, writes scratch space. The precompile fails only when it runs out
        // of gas; the check keeps a caller from choosing the gas so that a stale word passes for a digest.
        assembly ("memory-safe") {
            let ok := staticcall(gas(), 2, at, length, 0, 32)
            ok := and(staticcall(gas(), 2, 0, 32, 0, 32), ok)
            if iszero(ok) { revert(0, 0) }
            digest := mload(0)
        }
    }

    /// @notice H of the header with these fields, each given at the top of a word whose rest is ignored.
    function hash(
        bytes32 versionWord,
        bytes32 prevHash,
        bytes32 root,
        bytes32 ntimeWord,
        bytes32 nbitsWord,
        bytes32 nonceWord
    ) internal view returns (bytes32) {
        uint256 at;
        // Assembly: packs the fields by overlapping stores, each covering what the one before wrote too far.
        // Memory-safe: uses memory past the free memory pointer and gives it up again.
        assembly ("memory-safe") {
            at := mload(0x40)
            mstore(at, versionWord)
            mstore(add(at, 4), prevHash)
            mstore(add(at, 36), root)
            mstore(add(at, 68), ntimeWord)
            mstore(add(at, 72), nbitsWord)
            mstore(add(at, 76), nonceWord)
        }
        return sha256d(at, LENGTH);
    }

    /// @notice The highest value that a hash may have at a difficulty of `bits`: (0xffff << 240) >> bits.
    /// @param bits 0 to 255.
    function target(uint256 bits) internal pure returns (uint256) {
        return (0xffff << 240) >> bits;
    }

    /// @notice Whether `digest`, read as a little-endian number, is at most target(bits).
    function meets(bytes32 digest, uint256 bits) internal pure returns (bool) {
        return reverse(uint256(digest)) <= target(bits);
    }

    /// @notice `value` with its 32 bytes in reverse order.
    /// @dev Swaps neighbouring bytes, then pairs, and so on: five rounds instead of 32.
    function reverse(uint256 value) internal pure returns (uint256) {
        value = ((value >> 8) & 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff)
            | ((value & 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff) << 8);
        value = ((value >> 16) & 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)
            | ((value & 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff) << 16);
        value = ((value >> 32) & 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)
            | ((value & 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff) << 32);
        value = ((value >> 64) & 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)
            | ((value & 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff) << 64);
        return (value >> 128) | (value << 128);
    }
}
