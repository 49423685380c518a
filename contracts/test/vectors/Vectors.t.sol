// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {ILibraries} from "../utils/ILibraries.sol";

/// @notice The contract and its libraries against the vectors that the Python specification writes.
contract VectorsTest is BaseTest {
    string internal constant PATH = "../tests/vectors/";

    ILibraries internal libraries;

    function setUp() public override {
        super.setUp();
        libraries = ILibraries(vm.deployCode("Libraries.sol:Libraries"));
    }

    /* target.json, work.json */

    function test_vectors_target() public view {
        string memory json = vm.readFile(string.concat(PATH, "target.json"));
        uint256[] memory bits = vm.parseJsonUintArray(json, ".bits");
        bytes32[] memory targets = vm.parseJsonBytes32Array(json, ".targets");
        vm.assertEq(bits.length, 256);
        for (uint256 i; i < bits.length; ++i) {
            vm.assertEq(libraries.target(bits[i]), uint256(targets[i]));
        }

        bytes32[] memory hashes = vm.parseJsonBytes32Array(json, ".hashes");
        uint256[] memory hashBits = vm.parseJsonUintArray(json, ".hashBits");
        bool[] memory meets = vm.parseJsonBoolArray(json, ".meets");
        vm.assertGe(hashes.length, 1, "no vectors");
        for (uint256 i; i < hashes.length; ++i) {
            bool met = libraries.reverse(uint256(hashes[i])) <= libraries.target(hashBits[i]);
            vm.assertEq(met ? 1 : 0, meets[i] ? 1 : 0, vm.toString(i));
        }
    }

    function test_vectors_work() public view {
        string memory json = vm.readFile(string.concat(PATH, "work.json"));
        bytes32 job = vm.parseJsonBytes32(json, ".jobId");
        vm.assertEq(libraries.headZero(job), vm.parseJsonBytes32(json, ".headZero"));
        vm.assertEq(
            libraries.nextHead(vm.parseJsonBytes32(json, ".headZero"), vm.parseJsonBytes(json, ".stepData")),
            vm.parseJsonBytes32(json, ".nextHead")
        );

        uint256[] memory steps = vm.parseJsonUintArray(json, ".workSteps");
        bytes32 head = vm.parseJsonBytes32(json, ".workHead");
        bytes32[] memory works = vm.parseJsonBytes32Array(json, ".works");
        vm.assertGe(steps.length, 1, "no vectors");
        for (uint256 i; i < steps.length; ++i) {
            vm.assertEq(libraries.workId(job, uint64(steps[i]), head), works[i]);
        }

        address[] memory miners = vm.parseJsonAddressArray(json, ".markerMiners");
        uint256[] memory bits = vm.parseJsonUintArray(json, ".markerBits");
        bytes32[] memory markers = vm.parseJsonBytes32Array(json, ".markers");
        vm.assertGe(miners.length, 1, "no vectors");
        for (uint256 i; i < miners.length; ++i) {
            bytes32 who = bytes32(abi.encodePacked(miners[i], uint8(bits[i]), bytes11(0)));
            vm.assertEq(libraries.marker(works[i], who), markers[i]);
        }
    }

    /// @notice Columns of work.json's coinbases.
    struct Fill {
        bytes[] template;
        uint256[] scriptAt;
        uint256[] extranonceAt;
        bytes[] extranonce;
        bytes32[] marker;
        bytes[] script;
        bytes[] coinbase;
        bytes[] branch;
        bytes32[] merkleRoot;
        bytes[] header;
        bytes32[] hash;
    }

    function test_vectors_fill() public view {
        string memory json = vm.readFile(string.concat(PATH, "work.json"));
        Fill memory f;
        f.template = vm.parseJsonBytesArray(json, ".fill.template");
        f.scriptAt = vm.parseJsonUintArray(json, ".fill.scriptAt");
        f.extranonceAt = vm.parseJsonUintArray(json, ".fill.extranonceAt");
        f.extranonce = vm.parseJsonBytesArray(json, ".fill.extranonce");
        f.marker = vm.parseJsonBytes32Array(json, ".fill.marker");
        f.script = vm.parseJsonBytesArray(json, ".fill.script");
        f.coinbase = vm.parseJsonBytesArray(json, ".fill.coinbase");
        f.branch = vm.parseJsonBytesArray(json, ".fill.branch");
        f.merkleRoot = vm.parseJsonBytes32Array(json, ".fill.merkleRoot");
        f.header = vm.parseJsonBytesArray(json, ".fill.header");
        f.hash = vm.parseJsonBytes32Array(json, ".fill.hash");
        vm.assertEq(f.template.length, vm.parseJsonUint(json, ".fillCount"));
        for (uint256 i; i < f.template.length; ++i) {
            vm.assertEq(libraries.parse(f.template[i], f.scriptAt[i]), f.extranonceAt[i]);
            bytes memory full =
                libraries.fill(f.template[i], f.scriptAt[i], f.script[i], bytes16(f.extranonce[i]), f.marker[i]);
            vm.assertEq(full, f.coinbase[i]);
            vm.assertEq(libraries.fold(libraries.sha256d(full), f.branch[i]), f.merkleRoot[i]);
            vm.assertEq(libraries.sha256d(f.header[i]), f.hash[i]);
        }
    }

    /* job.json */

    function test_vectors_jobId() public {
        string memory json = vm.readFile(string.concat(PATH, "job.json"));
        uint256[] memory chains = vm.parseJsonUintArray(json, ".chainIds");
        address[] memory contracts = vm.parseJsonAddressArray(json, ".contracts");
        bytes[] memory params = vm.parseJsonBytesArray(json, ".params");
        bytes32[] memory ids = vm.parseJsonBytes32Array(json, ".jobIds");
        vm.assertGe(ids.length, 1, "no vectors");
        for (uint256 i; i < ids.length; ++i) {
            JobParams memory p = abi.decode(params[i], (JobParams));
            bytes32 id = keccak256(abi.encode(chains[i], contracts[i], p));
            // The EVM under test has chain ids of 64 bits.
            if (chains[i] <= type(uint64).max) {
                vm.chainId(chains[i]);
                vm.etch(contracts[i], address(pot).code);
                vm.assertEq(IPot(contracts[i]).jobId(p), id, vm.toString(i));
            }
            vm.assertEq(id, ids[i], vm.toString(i));
        }
    }

    /* record.json */

    /// @dev Every job is created, recorded, settled: heads, state roots and what each miner is paid.
    function test_vectors_record() public {
        string memory json = vm.readFile(string.concat(PATH, "record.json"));
        place(json);
        uint256 count = vm.parseJsonUint(json, ".jobCount");
        vm.assertGe(count, 1, "no vectors");
        for (uint256 k; k < count; ++k) {
            string memory at = string.concat(".jobs[", vm.toString(k), "]");
            JobParams memory p = create(json, at);
            bytes32 job = pot.jobId(p);
            bytes[] memory records = vm.parseJsonBytesArray(json, string.concat(at, ".stepData"));
            bytes32[] memory heads = vm.parseJsonBytes32Array(json, string.concat(at, ".heads"));
            bytes32[] memory roots = vm.parseJsonBytes32Array(json, string.concat(at, ".stateRoots"));
            vm.assertEq(pot.heads(job, 0), heads[0]);
            vm.assertEq(pot.stateRoot(job), roots[0]);
            for (uint256 s; s < records.length; ++s) {
                vm.prank(p.operator);
                vm.assertEq(pot.record(heads[s], records[s]), heads[s + 1]);
                vm.assertEq(pot.stateRoot(job), roots[s + 1]);
            }
            vm.warp(block.timestamp + p.challengeWindow);
            for (uint256 s; s < records.length; ++s) {
                settle(json, string.concat(at, ".steps[", vm.toString(s), "]"), p, records[s]);
            }
        }
    }

    function settle(string memory json, string memory at, JobParams memory p, bytes memory data) internal {
        address[] memory miners = vm.parseJsonAddressArray(json, string.concat(at, ".miners"));
        uint256[] memory pay = vm.parseJsonUintArray(json, string.concat(at, ".pay"));
        uint256[] memory before = new uint256[](miners.length);
        for (uint256 i; i < miners.length; ++i) {
            before[i] = pot.credits(p.token, miners[i]);
        }
        pot.settle(data);
        uint256 paid;
        for (uint256 i; i < miners.length; ++i) {
            // An account may have several rows.
            uint256 due;
            for (uint256 j; j < miners.length; ++j) {
                if (miners[j] == miners[i]) due += pay[j];
            }
            vm.assertEq(pot.credits(p.token, miners[i]) - before[i], due, at);
            paid += pay[i];
        }
        vm.assertLe(paid, p.potPerStep, at);
    }

    /// @dev Records that are wrong in one thing each, and in which the rest is right.
    function test_vectors_invalidRecords() public {
        string memory json = vm.readFile(string.concat(PATH, "record.json"));
        place(json);
        string memory at = string.concat(".jobs[", vm.toString(vm.parseJsonUint(json, ".invalid.job")), "]");
        JobParams memory p = create(json, at);
        bytes[] memory records = vm.parseJsonBytesArray(json, string.concat(at, ".stepData"));
        bytes32[] memory heads = vm.parseJsonBytes32Array(json, string.concat(at, ".heads"));
        string[] memory what = vm.parseJsonStringArray(json, ".invalid.what");
        uint256[] memory step = vm.parseJsonUintArray(json, ".invalid.step");
        bytes[] memory data = vm.parseJsonBytesArray(json, ".invalid.stepData");
        vm.assertEq(what.length, vm.parseJsonUint(json, ".invalid.count"));

        for (uint256 s; s <= records.length; ++s) {
            for (uint256 i; i < what.length; ++i) {
                if (step[i] != s) continue;
                vm.prank(p.operator);
                (bool ok, bytes memory error) = address(pot).call(abi.encodeCall(IPot.record, (heads[s], data[i])));
                vm.assertFalse(ok, what[i]);
                vm.assertTrue(bytes4(error) != bytes4(keccak256("Panic(uint256)")), what[i]);
                vm.assertGe(error.length, 4, what[i]);
            }
            if (s == records.length) break;
            vm.prank(p.operator);
            pot.record(heads[s], records[s]);
        }
    }

    /// @dev Puts the contract where the vectors have it.
    function place(string memory json) internal {
        vm.chainId(vm.parseJsonUint(json, ".chainId"));
        address at = vm.parseJsonAddress(json, ".contract");
        vm.etch(at, address(pot).code);
        pot = IPot(at);
    }

    function create(string memory json, string memory at) internal returns (JobParams memory p) {
        p = abi.decode(vm.parseJsonBytes(json, string.concat(at, ".params")), (JobParams));
        bytes memory manifest = vm.parseJsonBytes(json, string.concat(at, ".manifest"));
        uint256 value = cost(p);
        vm.deal(p.owner, value);
        vm.prank(p.owner);
        vm.assertEq(pot.createJob{value: value}(p, manifest), vm.parseJsonBytes32(json, string.concat(at, ".jobId")));
    }
}
