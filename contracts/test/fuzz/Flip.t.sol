// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Builder} from "../utils/Builder.sol";
import {Reference} from "../utils/Reference.sol";
import {Step} from "../utils/Step.sol";

/// @notice A valid record with a byte changed: which bytes are bound by the contract's own checks.
contract FlipTest is BaseTest {
    uint32 internal constant STEP = 2;

    JobParams internal p;
    bytes32 internal job;
    bytes internal valid;
    bytes32[] internal heads;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        p.minBits = 9;
        // Four shares of three candidates, at the start and in step 2 as well.
        (p.candidatesPerShare, p.populationStart, p.population) = (3, 12, 18);
        p.stepLimit = 1000;
        job = createJob(p);
        for (uint256 i; i < STEP; ++i) {
            recordNext(job, p);
        }
        // A miner with a payout script and a template with a place for it, and the other way round.
        Step memory s = draft(job, p, STEP);
        s.miners[1].script = hex"001400112233445566778899aabbccddeeff00112233";
        (s.templates[1].coinbase, s.templates[1].scriptAt) = Builder.openCoinbase(24, Builder.output(0, hex"6a0199"));
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].template = uint8(i % 2);
            s.entries[i].miner = uint16(i % 2);
        }
        valid = Reference.encode(finish(s));
        for (uint32 step; step <= STEP; ++step) {
            heads.push(pot.heads(job, step));
        }
    }

    /// @dev Every byte in turn. What the contract can't check without the dataset goes into the head and nothing else:
    /// losses, data root, validation figures, state root. Any other byte makes the record revert.
    function test_flip_everyByte() public {
        bytes memory data = valid;
        bytes32 head = keccak256(bytes.concat(heads[STEP], keccak256(data)));
        uint256 unchecked_;
        for (uint256 at; at < data.length; ++at) {
            bytes1 mask = bytes1(uint8(1 << (at % 8)));
            data[at] ^= mask;
            (bool ok, bytes32 newHead) = tryRecord(data);
            vm.assertEq(ok ? 1 : 0, onlyRecomputable(at, data.length) ? 1 : 0, vm.toString(at));
            if (ok) {
                ++unchecked_;
                vm.assertTrue(newHead != head);
                vm.assertEq(newHead, keccak256(bytes.concat(heads[STEP], keccak256(data))));
            }
            data[at] ^= mask;
        }
        vm.assertEq(unchecked_, 4 * 3 * 5 + 32 + 9 + 32);
        (bool whole, bytes32 same) = tryRecord(data);
        vm.assertTrue(whole);
        vm.assertEq(same, head);
    }

    /// @dev Any two bytes, any change: the contract accepts what the reference accepts.
    function testFuzz_flip(uint256 at, uint8 mask, uint256 otherAt, uint8 otherMask) public {
        bytes memory data = valid;
        data[bound(at, 0, data.length - 1)] ^= bytes1(mask);
        data[bound(otherAt, 0, data.length - 1)] ^= bytes1(otherMask);
        expectAgreement(data);
    }

    /// @dev Likewise for bytes that are cut out or put in.
    function testFuzz_splice(uint256 at, uint8 cut, bytes calldata put) public {
        bytes memory data = valid;
        at = bound(at, 0, data.length);
        uint256 end = at + cut > data.length ? data.length : at + cut;
        expectAgreement(
            bytes.concat(Reference.slice(data, 0, at), put[:put.length % 64], Reference.slice(data, end, data.length))
        );
    }

    /// @dev Whether the byte belongs to the numbers that only recomputation can check.
    function onlyRecomputable(uint256 at, uint256 length) internal view returns (bool) {
        uint256 dataRootAt = length - 32 - 9 - 32;
        if (at >= dataRootAt) return true;
        uint256 entriesAt = dataRootAt - 46 * 4;
        return at >= entriesAt && (at - entriesAt) % 46 >= 31;
    }

    function expectAgreement(bytes memory data) internal {
        (bool ok,) = tryRecord(data);
        bool right = data.length >= 37 && data[0] == 0x01
            && keccak256(Reference.slice(data, 1, 37)) == keccak256(abi.encodePacked(job, STEP))
            && Reference.valid(data, p, STEP, heads);
        vm.assertEq(ok ? 1 : 0, right ? 1 : 0);
    }

    /// @dev Records and takes it back.
    function tryRecord(bytes memory data) internal returns (bool ok, bytes32 newHead) {
        uint256 snapshot = vm.snapshotState();
        bytes memory call = abi.encodeCall(IPot.record, (heads[STEP], data));
        bytes memory answer;
        vm.prank(OPERATOR);
        (ok, answer) = address(pot).call(call);
        if (ok) newHead = abi.decode(answer, (bytes32));
        vm.revertToState(snapshot);
    }
}
