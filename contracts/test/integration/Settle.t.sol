// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step} from "../utils/Step.sol";

contract SettleTest is BaseTest {
    address internal constant A = address(0x1111);
    address internal constant B = address(0x2222);

    JobParams internal p;
    bytes32 internal job;
    bytes internal data;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        job = createJob(p);
        data = recordNext(job, p);
    }

    /// @dev Two entries at 2 bits and two at 3: a third and two thirds of 1,000,003, one unit of dust.
    function test_settle_paysByWork() public {
        vm.warp(START + p.challengeWindow);
        vm.expectEmit(address(pot));
        emit IPot.StepSettled(job, 0, uint256(p.potPerStep) + p.operatorFee);
        vm.prank(STRANGER);
        pot.settle(data);

        vm.assertEq(pot.credits(address(0), A), 333_334);
        vm.assertEq(pot.credits(address(0), B), 666_668);
        vm.assertEq(pot.credits(address(0), OPERATOR), 77);
        vm.assertEq(pot.credits(address(0), OWNER), 1);
        vm.assertEq(pot.escrow(job), cost(p) - 1_000_003 - 77);
        (, bool settled) = pot.stepInfo(job, 0);
        vm.assertTrue(settled);
    }

    /// @dev One account with rows of two difficulties gets the sum of both.
    function test_settle_addsUpRowsOfOneMiner() public {
        Step memory s = draft(job, p, 1);
        s.miners[1] = Miner(A, 3, "");
        data = record(finish(s));
        vm.warp(START + p.challengeWindow);
        pot.settle(data);
        vm.assertEq(pot.credits(address(0), A), 333_334 + 666_668);
        vm.assertEq(pot.credits(address(0), OWNER), 1);
    }

    function test_settle_inAnyOrder() public {
        bytes memory second = recordNext(job, p);
        bytes memory third = recordNext(job, p);
        vm.warp(START + p.challengeWindow);
        pot.settle(third);
        pot.settle(data);
        for (uint32 step; step < 3; ++step) {
            (uint64 recordedAt, bool settled) = pot.stepInfo(job, step);
            vm.assertEq(recordedAt, START);
            vm.assertEq(settled ? 1 : 0, step == 1 ? 0 : 1);
        }
        pot.settle(second);
        vm.assertEq(pot.escrow(job), cost(p) / 2);
    }

    function test_settle_closedJob() public {
        vm.warp(START + p.stallTimeout);
        vm.prank(OWNER);
        pot.close(job);
        pot.settle(data);
        vm.assertEq(pot.escrow(job), 0);
    }

    /// @dev The owner's dust and the operator's fee go to their accounts also where they are miners.
    function test_settle_whenTheOperatorMines() public {
        p.salt = keccak256("the operator mines");
        (p.populationStart, p.population) = (1, 1);
        job = createJob(p);
        Step memory s = draft(job, p, 0);
        s.miners[0].account = OPERATOR;
        data = record(finish(s));
        vm.warp(START + p.challengeWindow);
        pot.settle(data);
        vm.assertEq(pot.credits(address(0), OPERATOR), 1_000_003 + 77);
        vm.assertEq(pot.credits(address(0), OWNER), 0);
    }

    function test_settle_revertsFor_unknownJob() public {
        data[1] ^= 0x01;
        bytes32 unknown = job ^ bytes32(uint256(1) << 248);
        vm.expectRevert(abi.encodeWithSelector(IPot.UnknownJob.selector, unknown));
        pot.settle(data);
    }

    function test_settle_revertsFor_unrecordedStep() public {
        bytes memory next = Reference.encode(nextStep(job, p));
        vm.warp(START + p.challengeWindow);
        vm.expectRevert(abi.encodeWithSelector(IPot.StepNotRecorded.selector, 1));
        pot.settle(next);
    }

    /// @dev Not even a number that recording doesn't check may differ: here the state root's last byte.
    function test_settle_revertsFor_otherBytes() public {
        vm.warp(START + p.challengeWindow);
        data[data.length - 1] ^= 0x01;
        bytes32 given = keccak256(bytes.concat(pot.heads(job, 0), keccak256(data)));
        vm.expectRevert(abi.encodeWithSelector(IPot.RecordNotBound.selector, pot.heads(job, 1), given));
        pot.settle(data);
    }

    function test_settle_revertsFor_openWindow() public {
        uint256 until = START + p.challengeWindow;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IPot.ChallengeWindowOpen.selector, until));
        pot.settle(data);
        vm.warp(until);
        pot.settle(data);
    }

    function test_settle_revertsFor_settledStep() public {
        vm.warp(START + p.challengeWindow);
        pot.settle(data);
        vm.expectRevert(abi.encodeWithSelector(IPot.AlreadySettled.selector, 0));
        pot.settle(data);
    }

    function test_settle_revertsFor_truncatedHead() public {
        vm.expectRevert(abi.encodeWithSelector(IPot.Truncated.selector, 37, 36));
        pot.settle(Reference.slice(data, 0, 36));
    }

    function testFuzz_settle_paysAllAndNoMore(uint128 potPerStep, uint128 fee, uint8 spread) public {
        p.salt = keccak256("fuzz");
        (p.potPerStep, p.operatorFee) = (potPerStep, fee);
        vm.deal(OWNER, type(uint256).max / 2);
        job = createJob(p);
        Step memory s = draft(job, p, 0);
        s.miners[1].bits = uint8(bound(spread, 2, 7));
        data = record(finish(s));
        vm.warp(START + p.challengeWindow);
        pot.settle(data);

        uint256 weightA = 2 * 2 ** uint256(s.miners[0].bits);
        uint256 weightB = 2 * 2 ** uint256(s.miners[1].bits);
        uint256 a = uint256(potPerStep) * weightA / (weightA + weightB);
        uint256 b = uint256(potPerStep) * weightB / (weightA + weightB);
        vm.assertEq(pot.credits(address(0), A), a);
        vm.assertEq(pot.credits(address(0), B), b);
        vm.assertEq(pot.credits(address(0), OPERATOR), fee);
        vm.assertEq(pot.credits(address(0), OWNER), potPerStep - a - b);
        vm.assertLe(potPerStep - a - b, 1, "dust");
    }
}
