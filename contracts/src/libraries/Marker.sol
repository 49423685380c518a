// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Marker
/// @notice What a share commits to: the head of a job, the work made from it, and the marker that ties a miner and its
/// difficulty to that work. docs/protocol.md section 2.
library Marker {
    /// @notice The head of a job before its first step.
    function headZero(bytes32 job) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("potnode/1/head", job));
    }

    /// @notice The head after a step: the chain that binds every record.
    function nextHead(bytes32 prevHead, bytes calldata stepData) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(prevHead, keccak256(stepData)));
    }

    /// @notice work(step): what shares that may count from `step` on are made for.
    /// @param head The head before `step`.
    function workId(bytes32 job, uint64 step, bytes32 head) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("potnode/1/work", job, step, head));
    }

    /// @notice The 32 bytes in the last output of a share's coinbase.
    /// @param work A work id.
    /// @param who miner20 | u8 bits in its top 21 bytes, as a miner row begins; the rest is ignored.
    function marker(bytes32 work, bytes32 who) internal view returns (bytes32 result) {
        // Assembly: one hash per entry without allocating; `sha256(abi.encodePacked(...))` costs twice as much.
        // Memory-safe: the preimage (15 + 32 + 21 = 68 bytes) lies past the free memory pointer and is given up again.
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, "potnode/1/share")
            mstore(add(at, 15), work)
            mstore(add(at, 47), who)
            if iszero(staticcall(gas(), 2, at, 68, 0, 32)) { revert(0, 0) }
            result := mload(0)
        }
    }
}
