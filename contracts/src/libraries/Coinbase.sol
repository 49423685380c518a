// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot} from "../interfaces/IPot.sol";
import {Calldata} from "./Calldata.sol";

/// @title Coinbase
/// @notice The coinbase of a template: its form, the places left open in it, and the merkle root above it.
/// @dev The form, without witness data. Nothing states where the marker is: the position follows from the form, so one
///      coinbase can carry one marker only.
///
///      | bytes | field                                                                    |
///      |-------|--------------------------------------------------------------------------|
///      |     4 | version                                                                  |
///      |     1 | 01, the number of inputs                                                 |
///      |    36 | 32 zero bytes, ffffffff: it spends nothing                               |
///      |     1 | n, the length of the scriptSig, 17 to 100                                |
///      |     n | scriptSig; its last 16 bytes are the extranonce hole                     |
///      |     4 | sequence                                                                 |
///      |     1 | number of outputs, 1 to 252                                              |
///      |       | outputs: 8 value_le, 1 length (below fd), script                         |
///      |    47 | the last output: 8 zero bytes, 26, 6a 24 "POT1", 32 bytes of marker hole |
///      |     4 | locktime                                                                 |
///
///      A record has both holes as zeros. It may leave out one output's script with its length byte; `scriptAt` says
///      where, and the miner's payout script is put there. The transaction is leaf 0 of its block, so all siblings on
///      the way to the merkle root stand to the right. It is longer than 64 bytes, so that it can't be read as an
///      inner node.
library Coinbase {
    using Calldata for bytes;

    /// @notice Longest coinbase, its payout script included.
    uint256 internal constant MAX_LENGTH = 755;
    /// @notice Shortest coinbase of the form: a scriptSig of 17 bytes and no output but the marker's.
    uint256 internal constant MIN_LENGTH = 115;
    /// @notice Last output and locktime together.
    uint256 internal constant END_LENGTH = 51;
    /// @notice Offset of the scriptSig's length byte.
    uint256 internal constant SCRIPT_SIG_AT = 41;
    uint256 internal constant EXTRANONCE_LENGTH = 16;
    /// @notice From the marker's first byte to the end of the coinbase.
    uint256 internal constant MARKER_FROM_END = 36;
    /// @notice Lengths from here on would take more than one byte.
    uint256 internal constant LONG_LENGTH = 0xfd;
    /// @notice The last output up to its marker: value 0, script length, OP_RETURN, push of 36 bytes, "POT1".
    uint256 internal constant MARKER_OUTPUT = 0x0000000000000000266a24504f5431;

    /// @notice A coinbase of good form within some calldata.
    struct Form {
        /// @dev Offset of its first byte.
        uint256 at;
        /// @dev Its length as it stands there, without the payout script that belongs in it.
        uint256 length;
        /// @dev Where in it the payout script with its length byte belongs; 0: nowhere.
        uint256 scriptAt;
        /// @dev Where in it the extranonce hole is. Outputs come after it, so a payout script doesn't move it.
        uint256 extranonceAt;
    }

    /// @notice Checks the form of the coinbase at data[at : at + length], which must lie within `data`.
    function parse(bytes calldata data, uint256 at, uint256 length, uint256 scriptAt)
        internal
        pure
        returns (Form memory)
    {
        require(length >= MIN_LENGTH, IPot.CoinbaseTooShort(length));
        require(length <= MAX_LENGTH, IPot.CoinbaseTooLong(length));
        // Offsets stay below 2^17 from here on: `length` is bounded and every step adds less than 2^9.
        unchecked {
            require(
                data.uint8At(at + 4) == 1 && data.word(at + 5) == 0 && data.uint32At(at + 37) == 0xffffffff,
                IPot.BadCoinbaseInput()
            );

            uint256 sigLength = data.uint8At(at + SCRIPT_SIG_AT);
            require(sigLength >= 17 && sigLength <= 100, IPot.BadScriptSigLength(sigLength));
            uint256 extranonceAt = SCRIPT_SIG_AT + 1 + sigLength - EXTRANONCE_LENGTH;
            require(uint256(data.word(at + extranonceAt)) >> 128 == 0, IPot.ExtranonceNotZero());

            uint256 cursor = SCRIPT_SIG_AT + 1 + sigLength + 4;
            uint256 last = length - END_LENGTH;
            require(cursor < last, IPot.CoinbaseTooShort(length));
            uint256 outputs = data.uint8At(at + cursor);
            require(outputs >= 1 && outputs < LONG_LENGTH, IPot.BadOutputCount(outputs));
            cursor += 1;
            bool placed = scriptAt == 0;
            for (uint256 i = 1; i < outputs; ++i) {
                cursor += 8;
                if (cursor == scriptAt) {
                    placed = true;
                } else {
                    require(cursor < last, IPot.BadOutputs(cursor));
                    uint256 scriptLength = data.uint8At(at + cursor);
                    require(scriptLength < LONG_LENGTH, IPot.BadOutputs(cursor));
                    cursor += 1 + scriptLength;
                }
                require(cursor <= last, IPot.BadOutputs(cursor));
            }
            require(cursor == last, IPot.BadOutputs(cursor));
            require(placed, IPot.BadScriptPlace(scriptAt));

            require(uint256(data.word(at + last)) >> 136 == MARKER_OUTPUT, IPot.BadMarkerOutput());
            require(data.word(at + length - MARKER_FROM_END) == 0, IPot.MarkerNotZero());
            return Form(at, length, scriptAt, extranonceAt);
        }
    }

    /// @notice Memory for one coinbase of any length.
    function allocate() internal pure returns (uint256 at) {
        // Assembly: nothing needs the zeros that `new bytes` would write. Memory-safe: moves the free memory pointer by
        // whole words.
        assembly ("memory-safe") {
            at := mload(0x40)
            mstore(0x40, add(at, 768))
        }
    }

    /// @notice Writes a coinbase with its payout script and its marker to memory; the extranonce remains zero.
    /// @param form Of a coinbase within `data`.
    /// @param payoutAt Offset in `data` of the payout script's length byte, with the script behind it. Made use of only
    /// if the form has a place for it.
    /// @param at From `allocate`.
    /// @return length Of what was written.
    function fill(bytes calldata data, Form memory form, uint256 payoutAt, bytes32 marker, uint256 at)
        internal
        pure
        returns (uint256 length)
    {
        // Lengths are below 2^11, offsets bounded by the record's length.
        unchecked {
            uint256 inserted = form.scriptAt == 0 ? 0 : 1 + data.uint8At(payoutAt);
            length = form.length + inserted;
            require(length <= MAX_LENGTH, IPot.CoinbaseTooLong(length));
            // Assembly: Solidity copies calldata into memory only together with an allocation for each piece.
            // Memory-safe: writes `length` bytes of the MAX_LENGTH that are allocated.
            assembly ("memory-safe") {
                let source := add(data.offset, mload(form))
                let scriptAt := mload(add(form, 0x40))
                let rest := add(scriptAt, inserted)
                calldatacopy(at, source, scriptAt)
                calldatacopy(add(at, scriptAt), add(data.offset, payoutAt), inserted)
                calldatacopy(add(at, rest), add(source, scriptAt), sub(length, rest))
                mstore(add(at, sub(length, MARKER_FROM_END)), marker)
            }
        }
    }

    /// @notice Copies 16 bytes of extranonce from `data` to their place in memory.
    function setExtranonce(bytes calldata data, uint256 from, uint256 at) internal pure {
        // Assembly: writes 16 bytes, which Solidity can't without keeping the other 16 of the word.
        // Memory-safe: they lie within what `allocate` reserved.
        assembly ("memory-safe") {
            calldatacopy(at, add(data.offset, from), EXTRANONCE_LENGTH)
        }
    }

    /// @notice The merkle root above leaf 0.
    /// @param leaf The coinbase's transaction id.
    /// @param branchAt Offset in `data` of the siblings, lowest first, 32 bytes each.
    function fold(bytes calldata data, bytes32 leaf, uint256 branchAt, uint256 siblings)
        internal
        view
        returns (bytes32 root)
    {
        // Assembly: keeps the node in scratch space and has the precompile write the next one over it, so a level
        // costs two hashes, one store and one copy. Memory-safe: only scratch space (0x00 to 0x3f) is written.
        assembly ("memory-safe") {
            mstore(0, leaf)
            let sibling := add(data.offset, branchAt)
            let end := add(sibling, shl(5, siblings))
            let ok := 1
            for {} lt(sibling, end) { sibling := add(sibling, 32) } {
                calldatacopy(32, sibling, 32)
                ok := and(staticcall(gas(), 2, 0, 64, 0, 32), ok)
                ok := and(staticcall(gas(), 2, 0, 32, 0, 32), ok)
            }
            if iszero(ok) { revert(0, 0) }
            root := mload(0)
        }
    }
}
