// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Builder} from "../utils/Builder.sol";
import {ILibraries} from "../utils/ILibraries.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step, Template} from "../utils/Step.sol";

/// @notice The libraries against their slow reference.
contract LibrariesTest is BaseTest {
    ILibraries internal libraries;

    function setUp() public override {
        super.setUp();
        libraries = ILibraries(vm.deployCode("Libraries.sol:Libraries"));
    }

    /* HEADER */

    function testFuzz_header_sha256d(bytes calldata data) public view {
        vm.assertEq(libraries.sha256d(data), Reference.sha256d(data));
    }

    function testFuzz_header_hash(
        bytes4 version,
        bytes32 prevHash,
        bytes32 root,
        bytes4 ntime,
        bytes4 nbits,
        bytes4 nonce
    ) public view {
        vm.assertEq(
            libraries.headerHash(version, prevHash, root, ntime, nbits, nonce),
            Reference.sha256d(bytes.concat(version, prevHash, root, ntime, nbits, nonce))
        );
    }

    function test_header_target() public view {
        for (uint256 bits; bits < 256; ++bits) {
            vm.assertEq(libraries.target(bits), Reference.target(bits));
        }
        vm.assertEq(libraries.target(0), 0xffff << 240);
        vm.assertEq(libraries.target(255), 1);
    }

    function testFuzz_header_reverse(bytes32 value) public view {
        bytes32 reversed = bytes32(libraries.reverse(uint256(value)));
        vm.assertEq(reversed, Reference.reverse(value));
        vm.assertEq(libraries.reverse(uint256(reversed)), uint256(value));
    }

    /* MARKER */

    function testFuzz_marker(bytes32 job, uint64 step, bytes32 head, bytes32 who) public view {
        vm.assertEq(libraries.headZero(job), Reference.headZero(job));
        vm.assertEq(libraries.workId(job, step, head), Reference.work(job, step, head));
        vm.assertEq(libraries.marker(head, who), Reference.marker(head, address(bytes20(who)), uint8(who[20])));
    }

    function testFuzz_marker_nextHead(bytes32 prevHead, bytes calldata stepData) public view {
        vm.assertEq(libraries.nextHead(prevHead, stepData), keccak256(bytes.concat(prevHead, keccak256(stepData))));
    }

    /* COINBASE */

    /// @dev Coinbases that are nearly of the form: a good one with some bytes changed.
    function testFuzz_coinbase_parse(uint8 sigLength, bytes calldata changes, uint16 scriptAt) public view {
        (bytes memory cb, uint16 place) =
            Builder.openCoinbase(uint8(bound(sigLength, 15, 102)), Builder.output(0, hex"6a0199"));
        if (scriptAt % 4 != 0) scriptAt = place;
        if (scriptAt % 16 == 4) scriptAt = 0;
        for (uint256 i; i + 3 <= changes.length && i < 9; i += 3) {
            cb[uint16(bytes2(changes[i:i + 2])) % cb.length] = changes[i + 2];
        }
        (bool ok,) = address(libraries).staticcall(abi.encodeCall(ILibraries.parse, (cb, scriptAt)));
        vm.assertEq(ok ? 1 : 0, Reference.goodForm(cb, scriptAt) ? 1 : 0);
    }

    function testFuzz_coinbase_fill(
        uint8 sigLength,
        uint8 scriptLength,
        bool open,
        bytes16 extranonce,
        bytes32 work,
        bytes32 who
    ) public view {
        Template memory t;
        Miner memory m = Miner(address(bytes20(who)), uint8(who[20]), "");
        sigLength = uint8(bound(sigLength, 17, 100));
        if (open) {
            m.script = new bytes(bound(scriptLength, 1, 252));
            for (uint256 i; i < m.script.length; ++i) {
                m.script[i] = bytes1(uint8(i + 1));
            }
            (t.coinbase, t.scriptAt) = Builder.openCoinbase(sigLength, "");
        } else {
            t.coinbase = Builder.coinbase(sigLength, Builder.output(7, hex"51"));
        }
        vm.assertEq(
            libraries.fill(t.coinbase, t.scriptAt, m.script, extranonce, libraries.marker(work, who)),
            Reference.coinbase(t, m, extranonce, work)
        );
    }

    function testFuzz_coinbase_fold(bytes32 leaf, uint8 siblings) public view {
        bytes32[] memory branch = Builder.branch(siblings % 17);
        vm.assertEq(libraries.fold(leaf, abi.encodePacked(branch)), Reference.fold(leaf, branch));
    }

    /* RECORD */

    /// @dev One entry on its own, as a dispute looks at it, gives the same share as the whole record.
    function test_record_share() public {
        JobParams memory p = defaultParams();
        (p.candidatesPerShare, p.populationStart, p.population) = (3, 12, 12);
        bytes32 job = createJob(p);
        recordNext(job, p);
        Step memory s = nextStep(job, p);
        bytes32[] memory works = worksOf(s);
        bytes memory data = Reference.encode(s);
        for (uint256 i; i < s.entries.length; ++i) {
            (bytes32 digest, address payee, uint256 bits) =
                libraries.share(data, s.entries.length, p.candidatesPerShare, s.validation, works, i);
            vm.assertEq(digest, Reference.shareHash(s, i, works));
            vm.assertEq(payee, s.miners[s.entries[i].miner].account);
            vm.assertEq(bits, s.miners[s.entries[i].miner].bits);
        }
    }

    /* SCHEDULE */

    /// @dev As docs/protocol.md has it, divisions of candidates and all; and the sum of all steps.
    function testFuzz_schedule(uint8 candidates, uint8 first, uint8 rise, uint8 limit) public view {
        JobParams memory p = defaultParams();
        p.candidatesPerShare = uint8(bound(candidates, 1, 64));
        uint256 start = bound(first, 1, 128);
        uint256 end = start + rise % 128;
        p.populationStart = uint16(start * p.candidatesPerShare);
        p.population = uint16(end * p.candidatesPerShare);
        p.stepLimit = uint32(limit) + 1;
        uint256 sum;
        for (uint256 step; step < p.stepLimit; ++step) {
            vm.assertEq(libraries.sumOnLine(start, end, p.stepLimit, step), sum);
            uint256 shares = libraries.onLine(start, end, p.stepLimit, step);
            vm.assertEq(shares, Reference.shares(p, step));
            sum += shares;
        }
        vm.assertEq(libraries.sumOnLine(start, end, p.stepLimit, p.stepLimit), sum);
    }

    /// @dev Of a rise d that has no divisor in common with the limit L, the floors add up to (d - 1) * (L - 1) / 2.
    function test_schedule_longestJob() public view {
        uint256 limit = type(uint32).max;
        vm.assertEq(libraries.onLine(1, 512, limit, limit - 1), 511);
        vm.assertEq(libraries.sumOnLine(1, 512, limit, limit), limit + 510 * (limit - 1) / 2);
    }
}
