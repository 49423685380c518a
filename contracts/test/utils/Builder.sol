// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Reference} from "./Reference.sol";
import {Entry, Step, Template} from "./Step.sol";

/// @notice Makes valid step records: templates of good form, entries that are mined and in order.
library Builder {
    /// @notice A coinbase as the standalone pool makes it: 130 bytes, a scriptSig of 32, the marker's output only.
    function plainCoinbase() internal pure returns (bytes memory) {
        return coinbase(32, "");
    }

    /// @notice A coinbase with a scriptSig of `sigLength` bytes and these outputs (serialised) before the marker's.
    function coinbase(uint8 sigLength, bytes memory outputs) internal pure returns (bytes memory) {
        return coinbase(sigLength, 1 + count(outputs), outputs);
    }

    function coinbase(uint8 sigLength, uint8 outputCount, bytes memory outputs) internal pure returns (bytes memory) {
        bytes memory sig = new bytes(sigLength);
        for (uint256 i; i + 16 < sigLength; ++i) {
            sig[i] = bytes1(uint8(0xa0 + i));
        }
        return bytes.concat(
            hex"0200000001",
            bytes32(0),
            hex"ffffffff",
            bytes1(sigLength),
            sig,
            hex"fdffffff",
            bytes1(outputCount),
            outputs,
            hex"0000000000000000266a24504f5431",
            bytes32(0),
            hex"11223344"
        );
    }

    /// @notice One output.
    function output(uint64 value, bytes memory script) internal pure returns (bytes memory) {
        return bytes.concat(bytes8(value), bytes1(uint8(script.length)), script);
    }

    function count(bytes memory outputs) internal pure returns (uint8 n) {
        for (uint256 at; at < outputs.length; ++n) {
            at += 9 + uint256(uint8(outputs[at + 8]));
        }
    }

    /// @notice A coinbase with one output whose script is left out: its value, then at `scriptAt` the place for it;
    /// `rest` are outputs that follow.
    function openCoinbase(uint8 sigLength, bytes memory rest) internal pure returns (bytes memory, uint16 scriptAt) {
        return (
            coinbase(sigLength, 2 + count(rest), bytes.concat(bytes8(uint64(5e9)), rest)),
            uint16(42) + sigLength + 4 + 1 + 8
        );
    }

    /// @notice `siblings` different hashes.
    function branch(uint256 siblings) internal pure returns (bytes32[] memory result) {
        result = new bytes32[](siblings);
        for (uint256 i; i < siblings; ++i) {
            result[i] = sha256(abi.encode("sibling", i));
        }
    }

    /// @notice `count` empty entries with room for the losses of `candidates` each.
    function entries(uint256 count_, uint256 candidates) internal pure returns (Entry[] memory result) {
        result = new Entry[](count_);
        for (uint256 i; i < count_; ++i) {
            result[i].losses = new uint40[](candidates);
        }
    }

    /// @notice Gives every entry its own extranonce, a version, a time, losses, and a nonce that meets its target.
    function mine(Step memory s, bytes32[] memory works) internal pure {
        for (uint256 i; i < s.entries.length; ++i) {
            Entry memory e = s.entries[i];
            e.extranonce = bytes16(sha256(abi.encode("extranonce", s.step, i)));
            e.version = 0x00000020;
            e.ntime = bytes4(uint32(0x66554433 + i));
            for (uint256 j; j < e.losses.length; ++j) {
                e.losses[j] = uint40(100_000 + 17 * i + 1009 * j);
            }
            solve(s, i, works);
        }
    }

    /// @notice Searches a nonce for one entry.
    function solve(Step memory s, uint256 i, bytes32[] memory works) internal pure {
        Entry memory e = s.entries[i];
        bytes memory header = Reference.header(s, i, Reference.root(s, i, works[e.template]));
        uint256 target = Reference.target(s.miners[e.miner].bits);
        for (uint32 nonce = 0;; ++nonce) {
            // Assembly: the nonce goes to bytes 76 to 79 of the header, just behind its length word.
            assembly ("memory-safe") {
                let at := add(header, 80)
                mstore(at, or(and(mload(at), not(0xffffffff)), nonce))
            }
            bytes32 digest = sha256(bytes.concat(sha256(header)));
            // Cheap first: only a digest that ends in zeros can meet a target of some bits.
            if (uint256(Reference.reverse(digest)) <= target) {
                e.nonce = bytes4(nonce);
                return;
            }
        }
    }

    /// @notice Sorts mined entries by H and puts the templates into the order of their first use.
    /// @return ordered The works in the templates' new order.
    function arrange(Step memory s, bytes32[] memory works) internal pure returns (bytes32[] memory ordered) {
        uint256 n = s.entries.length;
        bytes32[] memory digests = new bytes32[](n);
        for (uint256 i; i < n; ++i) {
            digests[i] = Reference.shareHash(s, i, works);
        }
        for (uint256 i = 1; i < n; ++i) {
            for (uint256 j = i; j > 0 && digests[j] < digests[j - 1]; --j) {
                (digests[j], digests[j - 1]) = (digests[j - 1], digests[j]);
                (s.entries[j], s.entries[j - 1]) = (s.entries[j - 1], s.entries[j]);
            }
        }

        uint256 used;
        uint256[] memory place = new uint256[](s.templates.length);
        Template[] memory templates = new Template[](s.templates.length);
        ordered = new bytes32[](s.templates.length);
        for (uint256 i; i < n; ++i) {
            Entry memory e = s.entries[i];
            if (place[e.template] == 0) {
                templates[used] = s.templates[e.template];
                ordered[used] = works[e.template];
                place[e.template] = ++used;
            }
            e.template = uint8(place[e.template] - 1);
        }
        s.templates = templates;
    }
}
