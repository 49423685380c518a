// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {JobParams} from "../../src/interfaces/IPot.sol";
import {Entry, Miner, Step, Template} from "./Step.sol";

/// @notice The protocol once more, written from docs/protocol.md for reading, not for gas: whole values instead of
/// offsets, no assembly. The libraries are tested against it.
library Reference {
    /* HASHES */

    function sha256d(bytes memory data) internal pure returns (bytes32) {
        return sha256(bytes.concat(sha256(data)));
    }

    function headZero(bytes32 job) internal pure returns (bytes32) {
        return keccak256(bytes.concat("potnode/1/head", job));
    }

    function work(bytes32 job, uint64 step, bytes32 head) internal pure returns (bytes32) {
        return sha256(bytes.concat("potnode/1/work", job, bytes8(step), head));
    }

    function marker(bytes32 work_, address miner, uint8 bits) internal pure returns (bytes32) {
        return sha256(bytes.concat("potnode/1/share", work_, bytes20(miner), bytes1(bits)));
    }

    function reverse(bytes32 value) internal pure returns (bytes32 result) {
        for (uint256 i; i < 32; ++i) {
            result |= bytes32(value[i]) >> 8 * (31 - i);
        }
    }

    function target(uint256 bits) internal pure returns (uint256) {
        return 0xffff * 2 ** 240 / 2 ** bits;
    }

    function meets(bytes32 digest, uint256 bits) internal pure returns (bool) {
        return uint256(reverse(digest)) <= target(bits);
    }

    function slice(bytes memory data, uint256 from, uint256 to) internal pure returns (bytes memory result) {
        result = new bytes(to - from);
        for (uint256 i; i < result.length; ++i) {
            result[i] = data[from + i];
        }
    }

    function put(bytes memory data, uint256 at, bytes memory value) internal pure {
        for (uint256 i; i < value.length; ++i) {
            data[at + i] = value[i];
        }
    }

    /* SCHEDULE */

    /// @notice How many shares step `step` takes: P(s) / C.
    function shares(JobParams memory p, uint256 step) internal pure returns (uint256) {
        uint256 rise = uint256(p.population - p.populationStart) * step / p.stepLimit;
        return (p.populationStart + rise) / p.candidatesPerShare;
    }

    /* SHARES */

    /// @notice The coinbase that a miner hashed.
    function coinbase(Template memory t, Miner memory m, bytes16 extranonce, bytes32 work_)
        internal
        pure
        returns (bytes memory full)
    {
        full = t.scriptAt == 0
            ? bytes.concat(t.coinbase)
            : bytes.concat(
                slice(t.coinbase, 0, t.scriptAt),
                bytes1(uint8(m.script.length)),
                m.script,
                slice(t.coinbase, t.scriptAt, t.coinbase.length)
            );
        put(full, 42 + uint8(full[41]) - 16, bytes.concat(extranonce));
        put(full, full.length - 36, bytes.concat(marker(work_, m.account, m.bits)));
    }

    function fold(bytes32 leaf, bytes32[] memory branch) internal pure returns (bytes32) {
        for (uint256 i; i < branch.length; ++i) {
            leaf = sha256d(bytes.concat(leaf, branch[i]));
        }
        return leaf;
    }

    /// @notice Merkle root of one entry.
    function root(Step memory s, uint256 i, bytes32 work_) internal pure returns (bytes32) {
        Entry memory e = s.entries[i];
        Template memory t = s.templates[e.template];
        return fold(sha256d(coinbase(t, s.miners[e.miner], e.extranonce, work_)), t.branch);
    }

    function header(Step memory s, uint256 i, bytes32 root_) internal pure returns (bytes memory) {
        Entry memory e = s.entries[i];
        Template memory t = s.templates[e.template];
        return bytes.concat(e.version, t.prevHash, root_, e.ntime, t.nbits, e.nonce);
    }

    /// @notice H of one entry; works[k] belongs to template k.
    function shareHash(Step memory s, uint256 i, bytes32[] memory works) internal pure returns (bytes32) {
        return sha256d(header(s, i, root(s, i, works[s.entries[i].template])));
    }

    /* ENCODING */

    function encodeMiner(Miner memory m) internal pure returns (bytes memory) {
        return abi.encodePacked(m.account, m.bits, uint8(m.script.length), m.script);
    }

    function encodeTemplate(Template memory t) internal pure returns (bytes memory) {
        return abi.encodePacked(
            t.age,
            t.prevHash,
            t.nbits,
            t.scriptAt,
            uint16(t.coinbase.length),
            t.coinbase,
            uint8(t.branch.length),
            t.branch
        );
    }

    function encodeEntry(Entry memory e) internal pure returns (bytes memory) {
        bytes[] memory losses = new bytes[](e.losses.length);
        for (uint256 j; j < losses.length; ++j) {
            losses[j] = abi.encodePacked(e.losses[j]);
        }
        return abi.encodePacked(e.template, e.miner, e.extranonce, e.version, e.ntime, e.nonce, join(losses));
    }

    function encode(Step memory s) internal pure returns (bytes memory) {
        bytes[] memory miners = new bytes[](s.miners.length);
        for (uint256 i; i < miners.length; ++i) {
            miners[i] = encodeMiner(s.miners[i]);
        }
        bytes[] memory templates = new bytes[](s.templates.length);
        for (uint256 i; i < templates.length; ++i) {
            templates[i] = encodeTemplate(s.templates[i]);
        }
        bytes[] memory entries = new bytes[](s.entries.length);
        for (uint256 i; i < entries.length; ++i) {
            entries[i] = encodeEntry(s.entries[i]);
        }
        return bytes.concat(
            abi.encodePacked(uint8(1), s.job, s.step, uint16(miners.length)),
            join(miners),
            bytes1(uint8(templates.length)),
            join(templates),
            join(entries),
            s.dataRoot,
            s.validation ? abi.encodePacked(s.validationLoss, s.hits) : bytes(""),
            s.stateRoot
        );
    }

    /// @notice All parts after each other, by halves: appending one by one would copy a large record hundreds of times.
    function join(bytes[] memory parts) internal pure returns (bytes memory) {
        return join(parts, 0, parts.length);
    }

    function join(bytes[] memory parts, uint256 from, uint256 to) internal pure returns (bytes memory) {
        if (from == to) return "";
        if (from + 1 == to) return parts[from];
        uint256 middle = (from + to) / 2;
        return bytes.concat(join(parts, from, middle), join(parts, middle, to));
    }

    /* DECODING */

    /// @notice A place in some bytes. Reading past the end yields zeros, which no valid record survives: its encoding
    /// would be longer than what was read.
    struct Cursor {
        bytes data;
        uint256 at;
    }

    function take(Cursor memory c, uint256 length) internal pure returns (bytes memory result) {
        result = new bytes(length);
        for (uint256 i; i < length && c.at + i < c.data.length; ++i) {
            result[i] = c.data[c.at + i];
        }
        c.at += length;
    }

    function number(Cursor memory c, uint256 length) internal pure returns (uint256) {
        return uint256(bytes32(take(c, length))) >> 8 * (32 - length);
    }

    /// @notice Takes a record apart without judging it, unless it ends before its miner or template rows do.
    function decode(bytes memory data, uint256 shareCount, uint256 candidates, bool validation)
        internal
        pure
        returns (bool whole, Step memory s)
    {
        Cursor memory c = Cursor(data, 1);
        s.job = bytes32(take(c, 32));
        s.step = uint32(number(c, 4));
        uint256 rows = number(c, 2);
        if (c.at + 22 * rows > data.length) return (false, s);
        s.miners = new Miner[](rows);
        for (uint256 i; i < s.miners.length; ++i) {
            s.miners[i].account = address(uint160(number(c, 20)));
            s.miners[i].bits = uint8(number(c, 1));
            s.miners[i].script = take(c, number(c, 1));
        }
        rows = number(c, 1);
        if (c.at + 42 * rows > data.length) return (false, s);
        s.templates = new Template[](rows);
        for (uint256 i; i < s.templates.length; ++i) {
            Template memory t = s.templates[i];
            t.age = uint8(number(c, 1));
            t.prevHash = bytes32(take(c, 32));
            t.nbits = bytes4(uint32(number(c, 4)));
            t.scriptAt = uint16(number(c, 2));
            t.coinbase = take(c, number(c, 2));
            t.branch = new bytes32[](number(c, 1));
            for (uint256 k; k < t.branch.length; ++k) {
                t.branch[k] = bytes32(take(c, 32));
            }
        }
        s.entries = new Entry[](shareCount);
        for (uint256 i; i < shareCount; ++i) {
            Entry memory e = s.entries[i];
            e.template = uint8(number(c, 1));
            e.miner = uint16(number(c, 2));
            e.extranonce = bytes16(uint128(number(c, 16)));
            e.version = bytes4(uint32(number(c, 4)));
            e.ntime = bytes4(uint32(number(c, 4)));
            e.nonce = bytes4(uint32(number(c, 4)));
            e.losses = new uint40[](candidates);
            for (uint256 j; j < candidates; ++j) {
                e.losses[j] = uint40(number(c, 5));
            }
        }
        s.dataRoot = bytes32(take(c, 32));
        s.validation = validation;
        if (validation) {
            s.validationLoss = uint40(number(c, 5));
            s.hits = uint32(number(c, 4));
        }
        s.stateRoot = bytes32(take(c, 32));
        whole = true;
    }

    /* RULES */

    /// @notice Whether `a` stands before `b` in lexicographic order.
    function before(bytes memory a, bytes memory b) internal pure returns (bool) {
        for (uint256 i; i < a.length && i < b.length; ++i) {
            if (a[i] != b[i]) return a[i] < b[i];
        }
        return a.length < b.length;
    }

    /// @notice Whether a template's coinbase has the form.
    function goodForm(bytes memory cb, uint256 scriptAt) internal pure returns (bool) {
        Cursor memory c = Cursor(cb, 4);
        if (number(c, 1) != 1 || number(c, 32) != 0 || number(c, 4) != 0xffffffff) return false;
        uint256 sigLength = number(c, 1);
        if (sigLength < 17 || sigLength > 100) return false;
        c.at += sigLength - 16;
        if (number(c, 16) != 0) return false;
        c.at += 4;
        uint256 outputs = number(c, 1);
        if (outputs < 1 || outputs > 252) return false;
        bool found;
        for (uint256 i; i + 1 < outputs; ++i) {
            c.at += 8;
            if (scriptAt != 0 && c.at == scriptAt) {
                found = true;
                continue;
            }
            uint256 length = number(c, 1);
            if (length >= 0xfd) return false;
            c.at += length;
        }
        if (scriptAt != 0 && !found) return false;
        if (number(c, 8) != 0 || number(c, 1) != 0x26) return false;
        if (number(c, 2) != 0x6a24 || number(c, 4) != 0x504f5431) return false;
        if (number(c, 32) != 0) return false;
        return c.at + 4 == cb.length && cb.length <= 755;
    }

    /// @notice Whether a record of step `step` may be recorded, given the job's terms and the heads so far.
    function valid(bytes memory data, JobParams memory p, uint256 step, bytes32[] memory heads)
        internal
        pure
        returns (bool)
    {
        (bool whole, Step memory s) = decode(
            data, shares(p, step), p.candidatesPerShare, step % p.validateEvery == 0 || step + 1 == p.stepLimit
        );
        if (!whole || keccak256(encode(s)) != keccak256(data)) return false;
        if (s.miners.length < 1 || s.miners.length > 512) return false;
        if (s.templates.length < 1 || s.templates.length > 64) return false;
        for (uint256 i; i < s.miners.length; ++i) {
            if (s.miners[i].bits < p.minBits || s.miners[i].script.length > 252) return false;
            if (i != 0 && !before(encodeMiner(s.miners[i - 1]), encodeMiner(s.miners[i]))) {
                return false;
            }
        }
        bytes32[] memory works = new bytes32[](s.templates.length);
        for (uint256 i; i < s.templates.length; ++i) {
            Template memory t = s.templates[i];
            if (t.age > p.window || t.age > s.step || t.branch.length > 16) return false;
            if (!goodForm(t.coinbase, t.scriptAt)) return false;
            for (uint256 j; j < i; ++j) {
                if (keccak256(encodeTemplate(t)) == keccak256(encodeTemplate(s.templates[j]))) {
                    return false;
                }
            }
            works[i] = work(s.job, s.step - t.age, heads[s.step - t.age]);
        }
        return validEntries(s, works);
    }

    function validEntries(Step memory s, bytes32[] memory works) internal pure returns (bool) {
        bool[] memory minerUsed = new bool[](s.miners.length);
        uint256 templatesUsed;
        bytes32 previous;
        for (uint256 i; i < s.entries.length; ++i) {
            Entry memory e = s.entries[i];
            if (e.template > templatesUsed || e.template >= s.templates.length) return false;
            if (e.template == templatesUsed) ++templatesUsed;
            if (e.miner >= s.miners.length) return false;
            minerUsed[e.miner] = true;
            Miner memory m = s.miners[e.miner];
            Template memory t = s.templates[e.template];
            if ((t.scriptAt == 0) != (m.script.length == 0)) return false;
            if (coinbase(t, m, e.extranonce, 0).length > 755) return false;
            bytes32 digest = shareHash(s, i, works);
            if (digest <= previous || !meets(digest, m.bits)) return false;
            previous = digest;
        }
        for (uint256 i; i < minerUsed.length; ++i) {
            if (!minerUsed[i]) return false;
        }
        return templatesUsed == s.templates.length;
    }
}
