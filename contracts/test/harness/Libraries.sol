// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Coinbase} from "../../src/libraries/Coinbase.sol";
import {Header} from "../../src/libraries/Header.sol";
import {Marker} from "../../src/libraries/Marker.sol";
import {Record} from "../../src/libraries/Record.sol";
import {Schedule} from "../../src/libraries/Schedule.sol";
import {ILibraries} from "../utils/ILibraries.sol";

/// @notice Lets tests call the libraries' internal functions, compiled as the contract is.
contract Libraries is ILibraries {
    /* HEADER */

    function sha256d(bytes calldata data) external view returns (bytes32) {
        bytes memory copy = data;
        return Header.sha256d(_start(copy), copy.length);
    }

    function headerHash(bytes4 version, bytes32 prevHash, bytes32 root, bytes4 ntime, bytes4 nbits, bytes4 nonce)
        external
        view
        returns (bytes32)
    {
        // What is in the rest of a word must not matter.
        bytes32 rest = bytes32(type(uint256).max >> 32);
        return Header.hash(version | rest, prevHash, root, ntime | rest, nbits | rest, nonce | rest);
    }

    function target(uint256 bits) external pure returns (uint256) {
        return Header.target(bits);
    }

    function reverse(uint256 value) external pure returns (uint256) {
        return Header.reverse(value);
    }

    /* MARKER */

    function headZero(bytes32 job) external pure returns (bytes32) {
        return Marker.headZero(job);
    }

    function nextHead(bytes32 prevHead, bytes calldata stepData) external pure returns (bytes32) {
        return Marker.nextHead(prevHead, stepData);
    }

    function workId(bytes32 job, uint64 step, bytes32 head) external pure returns (bytes32) {
        return Marker.workId(job, step, head);
    }

    function marker(bytes32 work, bytes32 who) external view returns (bytes32) {
        return Marker.marker(work, who);
    }

    /* COINBASE */

    function parse(bytes calldata coinbase, uint256 scriptAt) external pure returns (uint256 extranonceAt) {
        return Coinbase.parse(coinbase, 0, coinbase.length, scriptAt).extranonceAt;
    }

    function fill(bytes calldata coinbase, uint256 scriptAt, bytes calldata script, bytes16 extranonce, bytes32 marker_)
        external
        view
        returns (bytes memory)
    {
        // The library reads all from one piece of calldata, at any offset.
        bytes memory data = bytes.concat(hex"010203", coinbase, bytes1(uint8(script.length)), script, extranonce);
        return this.fillFrom(data, coinbase.length, scriptAt, marker_);
    }

    function fillFrom(bytes calldata data, uint256 length, uint256 scriptAt, bytes32 marker_)
        external
        pure
        returns (bytes memory full)
    {
        Coinbase.Form memory form = Coinbase.parse(data, 3, length, scriptAt);
        uint256 at = Coinbase.allocate();
        length = Coinbase.fill(data, form, 3 + length, marker_, at);
        Coinbase.setExtranonce(data, data.length - 16, at + form.extranonceAt);
        full = new bytes(length);
        uint256 start = _start(full);
        assembly ("memory-safe") {
            mcopy(start, at, length)
        }
    }

    function fold(bytes32 leaf, bytes calldata branch) external view returns (bytes32) {
        return Coinbase.fold(branch, leaf, 0, branch.length / 32);
    }

    /* RECORD */

    function share(
        bytes calldata stepData,
        uint256 shareCount,
        uint256 candidates,
        bool validation,
        bytes32[] calldata works,
        uint256 entry
    ) external view returns (bytes32 digest, address payee, uint256 bits) {
        (, uint32 step) = Record.head(stepData);
        Record.Parts memory parts =
            Record.parse(stepData, Record.Rules(step, shareCount, candidates, 0, type(uint8).max, validation, false));
        uint256 at = parts.entriesAt + entry * parts.entryLength;
        uint256 template = uint8(stepData[at]);
        uint256 minerAt = parts.miners[uint16(bytes2(stepData[at + 1:at + 3]))];
        parts.templates[template].work = works[template];
        return (
            Record.share(stepData, parts.templates[template], minerAt, at),
            Record.payee(stepData, minerAt),
            Record.bits(stepData, minerAt)
        );
    }

    /* SCHEDULE */

    function onLine(uint256 first, uint256 last, uint256 limit, uint256 step) external pure returns (uint256) {
        return Schedule.onLine(first, last, limit, step);
    }

    function sumOnLine(uint256 first, uint256 last, uint256 limit, uint256 count) external pure returns (uint256) {
        return Schedule.sumOnLine(first, last, limit, count);
    }

    /// @dev Where in memory the bytes begin.
    function _start(bytes memory data) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := add(data, 32)
        }
    }
}
