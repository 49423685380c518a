// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot} from "../interfaces/IPot.sol";
import {Calldata} from "./Calldata.sol";
import {Coinbase} from "./Coinbase.sol";
import {Header} from "./Header.sol";
import {Marker} from "./Marker.sol";

/// @title Record
/// @notice The record of one step: where its parts are, that they are canonical, and the share behind each entry.
/// @dev All integers big-endian, all header fields as in the header; N is the number of the step's shares, C that of
/// the candidates of a share.
///
///      | bytes         | field                                                                             |
///      |---------------|-----------------------------------------------------------------------------------|
///      | 1, 32, 4      | version, job id, step                                                             |
///      | 2             | number of miner rows, 1 to 512                                                    |
///      | 22 + n each   | miner 20, bits 1, n 1, payout script n (at most 252)                              |
///      | 1             | number of template rows, 1 to 64                                                  |
///      | 42 + n + 32 m | age 1, prev_hash 32, nbits 4, script_at 2, n 2, coinbase n, m 1, siblings 32 m    |
///      | N * (31 + 5C) | entries: template 1, miner 2, extranonce 16, version 4, ntime 4, nonce 4,         |
///      |               | losses 5 each                                                                     |
///      | 32            | data_root, anything                                                               |
///      | 5, 4          | validation loss sum and hits, on validation steps only                            |
///      | 32            | state_root after the step                                                         |
///
///      Rows and shares as they are given have one record: rows and entries are in a fixed order, every row is used,
///      nothing follows. (A set of shares may have several, as its rows can be chosen in more than one way.) A dispute takes a record that the heads bind, finds its parts by
///      `parse` and the share of one entry by `share`.
library Record {
    using Calldata for bytes;

    uint256 internal constant VERSION = 1;
    /// @notice As many as a step may have entries: a row without one isn't allowed.
    uint256 internal constant MAX_MINERS = 512;
    /// @notice The largest record, and its settlement, must fit a transaction of 16,777,216 gas each (EIP-7825).
    uint256 internal constant MAX_TEMPLATES = 64;
    uint256 internal constant MAX_SCRIPT_LENGTH = 252;
    uint256 internal constant MAX_SIBLINGS = 16;
    /// @notice Up to so many pairs of a template and a miner, about 1 KiB each, are kept while a record is checked.
    uint256 internal constant KEPT_PAIRS = 64;

    uint256 internal constant JOB_AT = 1;
    uint256 internal constant STEP_AT = 33;
    /// @notice Version, job id and step.
    uint256 internal constant HEAD_LENGTH = 37;

    /// @notice A miner row up to its script; offsets in it.
    uint256 internal constant MINER_LENGTH = 22;
    uint256 internal constant MINER_SCRIPT_LENGTH_AT = 21;

    /// @notice A template row up to its coinbase; offsets in it.
    uint256 internal constant TEMPLATE_LENGTH = 41;
    uint256 internal constant TEMPLATE_PREV_HASH_AT = 1;
    uint256 internal constant TEMPLATE_NBITS_AT = 33;
    uint256 internal constant TEMPLATE_SCRIPT_AT = 37;
    uint256 internal constant TEMPLATE_COINBASE_LENGTH_AT = 39;

    /// @notice An entry up to its losses, and one of them; offsets in an entry.
    uint256 internal constant ENTRY_LENGTH = 31;
    uint256 internal constant LOSS_LENGTH = 5;
    uint256 internal constant ENTRY_MINER_AT = 1;
    uint256 internal constant ENTRY_EXTRANONCE_AT = 3;
    uint256 internal constant ENTRY_VERSION_AT = 19;
    uint256 internal constant ENTRY_NTIME_AT = 23;
    uint256 internal constant ENTRY_NONCE_AT = 27;
    uint256 internal constant ENTRY_LOSS_AT = 31;

    /// @notice data_root and state_root; what stands between them on validation steps.
    uint256 internal constant ROOTS_LENGTH = 64;
    uint256 internal constant VALIDATION_LENGTH = 9;

    /// @notice What a job demands of the record of one step.
    struct Rules {
        uint256 step;
        /// @dev Number of entries: the step's shares.
        uint256 shares;
        /// @dev Candidates of a share, which is how many losses an entry has.
        uint256 candidates;
        uint256 minBits;
        uint256 window;
        /// @dev Whether this step carries validation figures.
        bool validation;
        /// @dev Whether the heads bind these bytes. Their templates were checked when they were recorded, and reading
        /// them again would cost a settlement up to 4 million gas.
        bool bound;
    }

    /// @notice A template row.
    struct Template {
        uint32 age;
        /// @dev work(step - age), which only the contract that keeps the heads can tell: `parse` leaves it zero.
        bytes32 work;
        bytes32 prevHash;
        /// @dev nbits_le in its top 4 bytes; the rest is anything.
        bytes32 nbitsWord;
        Coinbase.Form coinbase;
        uint256 branchAt;
        uint256 siblings;
    }

    /// @notice Where the parts of a record are, as offsets in it.
    struct Parts {
        /// @dev Offset of each miner row.
        uint256[] miners;
        Template[] templates;
        uint256 entriesAt;
        /// @dev Length of an entry with its losses.
        uint256 entryLength;
        /// @dev Where the entries end.
        uint256 dataRootAt;
    }

    /// @notice What the shares of one template and one miner have in common, made ready for hashing.
    struct Pair {
        /// @dev Which pair this is, from 1 on; zero as long as it isn't prepared.
        uint256 number;
        /// @dev Where in memory the coinbase is, complete but for the extranonce.
        uint256 coinbaseAt;
        uint256 coinbaseLength;
        /// @dev Where in memory the 16 bytes of extranonce go.
        uint256 extranonceAt;
        uint256 branchAt;
        uint256 siblings;
        bytes32 prevHash;
        bytes32 nbitsWord;
        uint256 target;
    }

    /// @notice The job and the step that a record is for.
    function head(bytes calldata data) internal pure returns (bytes32 job, uint32 step) {
        _need(data, HEAD_LENGTH);
        require(data.uint8At(0) == VERSION, IPot.UnknownVersion(data.uint8At(0)));
        return (data.word(JOB_AT), uint32(bytes4(data.word(STEP_AT))));
    }

    /// @notice Finds the parts of a record and checks everything that needs no hash of a share: lengths, the order of
    /// the miner rows, their bits and scripts, the templates' ages, forms and distinctness. Of a record that the heads
    /// bind, the templates are left out.
    function parse(bytes calldata data, Rules memory rules) internal pure returns (Parts memory parts) {
        uint256 at;
        (parts.miners, at) = _miners(data, HEAD_LENGTH, rules.minBits);
        // Below 2^32: every part is bounded by the number of its rows and by their lengths. Bytes that are bound are as
        // long as they have to be.
        unchecked {
            parts.entryLength = ENTRY_LENGTH + rules.candidates * LOSS_LENGTH;
            uint256 entriesLength = rules.shares * parts.entryLength;
            uint256 endLength = rules.validation ? ROOTS_LENGTH + VALIDATION_LENGTH : ROOTS_LENGTH;
            if (rules.bound) at = data.length - endLength - entriesLength;
            else (parts.templates, at) = _templates(data, at, rules);
            parts.entriesAt = at;
            at += entriesLength;
            parts.dataRootAt = at;
            at += endLength;
        }
        _need(data, at);
        require(at == data.length, IPot.TrailingBytes(at, data.length));
    }

    /// @notice Checks every entry: rows that exist and are all used, templates in order of first use, script where
    /// there is a place for one, the hash within its miner's target, hashes strictly ascending.
    /// @dev This is where the gas of a step goes: what the entries of one template and one miner have in common is
    /// prepared once and kept, and an entry is read by one load. `revert` instead of `require` where the error's
    /// argument takes a division.
    /// @param parts By `parse`, with each template's work filled in.
    function verify(bytes calldata data, Parts memory parts) internal view {
        bool[] memory minerUsed = new bool[](parts.miners.length);
        uint256 templatesUsed;
        uint256 previous;
        // Offsets are bounded by the record's length, counters by their rows.
        unchecked {
            uint256 count = parts.miners.length * parts.templates.length;
            // A pair has one place where it may be kept; where there are more pairs than places, the last one stays.
            Pair[] memory pairs = new Pair[](count < KEPT_PAIRS ? count : KEPT_PAIRS);
            Pair memory pair = pairs[0];
            (uint256 entryLength, uint256 end) = (parts.entryLength, parts.dataRootAt);
            for (uint256 at = parts.entriesAt; at != end; at += entryLength) {
                uint256 entry = uint256(data.word(at));
                uint256 t = entry >> 248;
                if (t >= templatesUsed) {
                    if (t != templatesUsed || t >= parts.templates.length) {
                        revert IPot.TemplateOutOfOrder(_indexOf(parts, at));
                    }
                    ++templatesUsed;
                }
                uint256 m = entry >> 232 & 0xffff;
                if (m >= minerUsed.length) revert IPot.MinerOutOfRange(_indexOf(parts, at));

                uint256 wanted = 1 + t * minerUsed.length + m;
                // Assembly: pair = pairs[wanted % pairs.length], whose checks for an empty array and for the bounds
                // would cost 150 gas an entry. Memory-safe: `pairs` isn't empty, since there are miners and templates.
                assembly ("memory-safe") {
                    pair := mload(add(add(pairs, 32), shl(5, mod(wanted, mload(pairs)))))
                }
                if (pair.number != wanted) {
                    if (!_scriptsAgree(data, parts.templates[t], parts.miners[m])) {
                        revert IPot.ScriptMismatch(_indexOf(parts, at));
                    }
                    _prepare(data, parts.templates[t], parts.miners[m], pair);
                    pair.number = wanted;
                    minerUsed[m] = true;
                }
                uint256 digest = uint256(_hash(data, pair, at));
                if (digest <= previous) revert IPot.EntriesNotAscending(_indexOf(parts, at));
                if (Header.reverse(digest) > pair.target) {
                    revert IPot.HashAboveTarget(_indexOf(parts, at));
                }
                previous = digest;
            }
        }
        require(templatesUsed == parts.templates.length, IPot.UnusedTemplate(templatesUsed));
        for (uint256 m; m < minerUsed.length; ++m) {
            require(minerUsed[m], IPot.UnusedMiner(m));
        }
    }

    /// @notice H of one entry on its own: rebuilds coinbase, merkle root and header from the rows it names.
    /// @param template The entry's template row, its work filled in.
    /// @param minerAt Offset of the entry's miner row.
    /// @param entryAt Offset of the entry.
    function share(bytes calldata data, Template memory template, uint256 minerAt, uint256 entryAt)
        internal
        view
        returns (bytes32)
    {
        Pair memory pair;
        _prepare(data, template, minerAt, pair);
        return _hash(data, pair, entryAt);
    }

    /// @notice Number of entries of each miner row.
    /// @param parts Of a record that was verified.
    function entriesOf(bytes calldata data, Parts memory parts) internal pure returns (uint256[] memory counts) {
        counts = new uint256[](parts.miners.length);
        unchecked {
            (uint256 entryLength, uint256 end) = (parts.entryLength, parts.dataRootAt);
            for (uint256 at = parts.entriesAt; at < end; at += entryLength) {
                ++counts[data.uint16At(at + ENTRY_MINER_AT)];
            }
        }
    }

    /// @notice Payout address of the miner row at `minerAt`.
    function payee(bytes calldata data, uint256 minerAt) internal pure returns (address) {
        return address(bytes20(data.word(minerAt)));
    }

    /// @notice Agreed difficulty of the miner row at `minerAt`.
    function bits(bytes calldata data, uint256 minerAt) internal pure returns (uint256) {
        return data.uint8At(minerAt + 20);
    }

    /// @notice The state root after the step. It is the last field.
    function stateRoot(bytes calldata data) internal pure returns (bytes32) {
        return data.word(data.length - 32);
    }

    /// @dev Whether the template has a place for a payout script and the miner has one, or neither.
    function _scriptsAgree(bytes calldata data, Template memory template, uint256 minerAt) private pure returns (bool) {
        unchecked {
            return (template.coinbase.scriptAt == 0) == (data.uint8At(minerAt + MINER_SCRIPT_LENGTH_AT) == 0);
        }
    }

    /// @dev The number of the entry at `at`.
    function _indexOf(Parts memory parts, uint256 at) private pure returns (uint256) {
        return (at - parts.entriesAt) / parts.entryLength;
    }

    /// @dev Makes ready what the shares of one template and one miner have in common.
    function _prepare(bytes calldata data, Template memory template, uint256 minerAt, Pair memory pair) private view {
        unchecked {
            if (pair.coinbaseAt == 0) pair.coinbaseAt = Coinbase.allocate();
            pair.coinbaseLength = Coinbase.fill(
                data,
                template.coinbase,
                minerAt + MINER_SCRIPT_LENGTH_AT,
                Marker.marker(template.work, data.word(minerAt)),
                pair.coinbaseAt
            );
            pair.extranonceAt = pair.coinbaseAt + template.coinbase.extranonceAt;
            pair.branchAt = template.branchAt;
            pair.siblings = template.siblings;
            pair.prevHash = template.prevHash;
            pair.nbitsWord = template.nbitsWord;
            pair.target = Header.target(bits(data, minerAt));
        }
    }

    /// @dev H of the entry at `entryAt`, given what it has in common with others.
    function _hash(bytes calldata data, Pair memory pair, uint256 entryAt) private view returns (bytes32) {
        unchecked {
            Coinbase.setExtranonce(data, entryAt + ENTRY_EXTRANONCE_AT, pair.extranonceAt);
            bytes32 txid = Header.sha256d(pair.coinbaseAt, pair.coinbaseLength);
            bytes32 entry = data.word(entryAt);
            return Header.hash(
                entry << 8 * ENTRY_VERSION_AT,
                pair.prevHash,
                Coinbase.fold(data, txid, pair.branchAt, pair.siblings),
                entry << 8 * ENTRY_NTIME_AT,
                pair.nbitsWord,
                entry << 8 * ENTRY_NONCE_AT
            );
        }
    }

    function _miners(bytes calldata data, uint256 at, uint256 minBits)
        private
        pure
        returns (uint256[] memory miners, uint256)
    {
        unchecked {
            _need(data, at + 2);
            uint256 count = data.uint16At(at);
            require(count >= 1 && count <= MAX_MINERS, IPot.BadMinerCount(count));
            at += 2;
            miners = new uint256[](count);
            for (uint256 i; i < count; ++i) {
                _need(data, at + MINER_LENGTH);
                uint256 scriptLength = data.uint8At(at + MINER_SCRIPT_LENGTH_AT);
                require(scriptLength <= MAX_SCRIPT_LENGTH, IPot.ScriptTooLong(i));
                require(bits(data, at) >= minBits, IPot.BitsBelowMinimum(i));
                uint256 end = at + MINER_LENGTH + scriptLength;
                _need(data, end);
                require(i == 0 || _ascending(data, miners[i - 1], at), IPot.MinersNotAscending(i));
                miners[i] = at;
                at = end;
            }
            return (miners, at);
        }
    }

    function _templates(bytes calldata data, uint256 at, Rules memory rules)
        private
        pure
        returns (Template[] memory templates, uint256)
    {
        unchecked {
            _need(data, at + 1);
            uint256 count = data.uint8At(at);
            require(count >= 1 && count <= MAX_TEMPLATES, IPot.BadTemplateCount(count));
            at += 1;
            templates = new Template[](count);
            bytes32[] memory digests = new bytes32[](count);
            for (uint256 i; i < count; ++i) {
                uint256 end = _template(data, at, i, rules, templates[i]);
                digests[i] = keccak256(data[at:end]);
                for (uint256 j; j < i; ++j) {
                    require(digests[j] != digests[i], IPot.DuplicateTemplate(i));
                }
                at = end;
            }
            return (templates, at);
        }
    }

    /// @dev Reads the template row at `at` into `template`; returns the offset of its end.
    function _template(bytes calldata data, uint256 at, uint256 index, Rules memory rules, Template memory template)
        private
        pure
        returns (uint256 end)
    {
        unchecked {
            _need(data, at + TEMPLATE_LENGTH);
            uint8 age = uint8(bytes1(data.word(at)));
            require(age <= rules.window && age <= rules.step, IPot.TemplateTooOld(index));
            template.age = age;
            template.prevHash = data.word(at + TEMPLATE_PREV_HASH_AT);
            template.nbitsWord = data.word(at + TEMPLATE_NBITS_AT);
            uint256 coinbaseLength = data.uint16At(at + TEMPLATE_COINBASE_LENGTH_AT);
            uint256 coinbaseAt = at + TEMPLATE_LENGTH;
            end = coinbaseAt + coinbaseLength + 1;
            _need(data, end);
            template.coinbase = Coinbase.parse(data, coinbaseAt, coinbaseLength, data.uint16At(at + TEMPLATE_SCRIPT_AT));
            uint256 siblings = data.uint8At(end - 1);
            require(siblings <= MAX_SIBLINGS, IPot.BranchTooLong(index));
            template.branchAt = end;
            template.siblings = siblings;
            end += siblings * 32;
            _need(data, end);
        }
    }

    /// @dev Whether the miner row at `a` stands before the one at `b`: by the 22 bytes up to the script, then by script.
    /// Both rows lie within `data`.
    function _ascending(bytes calldata data, uint256 a, uint256 b) private pure returns (bool) {
        unchecked {
            uint256 prefixA = uint256(data.word(a)) >> 80;
            uint256 prefixB = uint256(data.word(b)) >> 80;
            if (prefixA != prefixB) return prefixA < prefixB;
            // The prefixes end in the scripts' length, which therefore is the same.
            uint256 left = prefixA & 0xff;
            a += MINER_LENGTH;
            b += MINER_LENGTH;
            while (left != 0) {
                uint256 surplus = left < 32 ? 8 * (32 - left) : 0;
                uint256 wordA = uint256(data.word(a)) >> surplus;
                uint256 wordB = uint256(data.word(b)) >> surplus;
                if (wordA != wordB) return wordA < wordB;
                if (left <= 32) return false;
                left -= 32;
                a += 32;
                b += 32;
            }
            return false;
        }
    }

    /// @dev Requires that data[0 : end] exists.
    function _need(bytes calldata data, uint256 end) private pure {
        require(end <= data.length, IPot.Truncated(end, data.length));
    }
}
