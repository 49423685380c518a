// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Calldata
/// @notice Reads big-endian integers out of calldata without checking its bounds: the caller checks a whole part once.
/// @dev Bytes past the end read as whatever follows in the transaction, or as zero.
library Calldata {
    /// @notice data[at : at + 32].
    function word(bytes calldata data, uint256 at) internal pure returns (bytes32 value) {
        // Assembly: a slice of `data` would check its bounds. Memory-safe: no memory is touched.
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, at))
        }
    }

    function uint8At(bytes calldata data, uint256 at) internal pure returns (uint256) {
        return uint256(word(data, at)) >> 248;
    }

    function uint16At(bytes calldata data, uint256 at) internal pure returns (uint256) {
        return uint256(word(data, at)) >> 240;
    }

    function uint32At(bytes calldata data, uint256 at) internal pure returns (uint256) {
        return uint256(word(data, at)) >> 224;
    }
}
