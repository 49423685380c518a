// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";

contract CloseTest is BaseTest {
    JobParams internal p;
    bytes32 internal job;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        job = createJob(p);
    }

    function test_close_beforeTheFirstStep() public {
        vm.warp(START + p.stallTimeout);
        vm.expectEmit(address(pot));
        emit IPot.JobClosed(job, cost(p));
        vm.prank(OWNER);
        pot.close(job);
        vm.assertEq(pot.credits(address(0), OWNER), cost(p));
        vm.assertEq(pot.escrow(job), 0);
        vm.assertTrue(pot.jobs(job).closed);
    }

    /// @dev What is held for recorded steps stays, settled or not.
    function test_close_keepsTheEscrowOfRecordedSteps() public {
        bytes memory first = recordNext(job, p);
        vm.warp(START + p.challengeWindow);
        pot.settle(first);
        recordNext(job, p);
        uint256 perStep = cost(p) / p.stepLimit;
        uint256 dust = pot.credits(address(0), OWNER);

        vm.warp(START + p.challengeWindow + p.stallTimeout);
        vm.prank(OWNER);
        pot.close(job);
        vm.assertEq(pot.credits(address(0), OWNER), (p.stepLimit - 2) * perStep + dust);
        vm.assertEq(pot.escrow(job), perStep);
    }

    function test_close_revertsFor_unknownJob() public {
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IPot.UnknownJob.selector, bytes32(0)));
        pot.close(0);
    }

    function test_close_revertsFor_others() public {
        vm.warp(START + p.stallTimeout);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(IPot.NotOwner.selector, OWNER, OPERATOR));
        pot.close(job);
    }

    function test_close_revertsFor_runningJob() public {
        uint256 until = START + p.stallTimeout;
        vm.warp(until - 1);
        expectRevert(abi.encodeWithSelector(IPot.NotStalled.selector, until));
        recordNext(job, p);
        vm.warp(until);
        expectRevert(abi.encodeWithSelector(IPot.NotStalled.selector, until - 1 + p.stallTimeout));
        vm.warp(until - 1 + p.stallTimeout);
        vm.prank(OWNER);
        pot.close(job);
    }

    /// @dev The last record counts also once its step is settled.
    function test_close_revertsFor_runningJobWithSettledStep() public {
        bytes memory data = recordNext(job, p);
        vm.warp(START + p.challengeWindow);
        pot.settle(data);
        expectRevert(abi.encodeWithSelector(IPot.NotStalled.selector, START + p.stallTimeout));
    }

    function test_close_revertsFor_closedJob() public {
        vm.warp(START + p.stallTimeout);
        vm.prank(OWNER);
        pot.close(job);
        expectRevert(abi.encodeWithSelector(IPot.JobIsClosed.selector, job));
    }

    function test_close_revertsFor_completeJob() public {
        while (pot.steps(job) < p.stepLimit) recordNext(job, p);
        vm.warp(START + p.stallTimeout);
        expectRevert(abi.encodeWithSelector(IPot.JobIsComplete.selector, job));
    }

    function expectRevert(bytes memory error) internal {
        vm.prank(OWNER);
        vm.expectRevert(error);
        pot.close(job);
    }
}
