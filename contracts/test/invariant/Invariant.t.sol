// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BaseTest} from "../BaseTest.sol";
import {Handler} from "./Handler.sol";

/// @notice What holds whatever happens.
contract InvariantTest is BaseTest {
    Handler internal handler;

    function setUp() public override {
        super.setUp();
        handler = new Handler(pot);
    }

    /// @dev Read by forge: calls go to the handler only.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @notice The contract can pay all it owes, in either coin; what it holds is what it owes.
    function invariant_solvent() external view {
        vm.assertEq(address(pot).balance, handler.owed(address(0)));
        address token = address(handler.TOKEN());
        vm.assertEq(handler.TOKEN().balanceOf(address(pot)), handler.owed(token));
    }

    /// @notice What was paid in is in escrow, paid out by settled steps, or given back at the close: never more.
    function invariant_nothingIsPaidTwice() external view {
        for (uint256 i; i < handler.jobCount(); ++i) {
            Handler.Known memory k = handler.job(i);
            vm.assertEq(pot.escrow(k.id) + k.paid + k.refunded, k.escrowed);
            for (uint32 step; step < k.params.stepLimit; ++step) {
                (, bool settled) = pot.stepInfo(k.id, step);
                vm.assertEq(settled ? 1 : 0, handler.settled(k.id, step) ? 1 : 0);
            }
        }
    }

    /// @notice A job's heads are one chain: each record continues the head before it, and no head ever changes.
    function invariant_headsAreOneChain() external view {
        for (uint256 i; i < handler.jobCount(); ++i) {
            bytes32 id = handler.job(i).id;
            uint32 steps = pot.steps(id);
            vm.assertEq(handler.headCount(id), uint256(steps) + 1);
            for (uint32 step; step <= steps; ++step) {
                bytes32 head = pot.heads(id, step);
                vm.assertEq(head, handler.heads(id, step));
                if (step == 0) continue;
                vm.assertEq(
                    head, keccak256(abi.encodePacked(pot.heads(id, step - 1), keccak256(handler.records(id, step - 1))))
                );
            }
            vm.assertEq(pot.heads(id, steps + 1), 0);
        }
    }

    /// @notice The handler does all it can: a fixed course through every action.
    function test_handler_reachesEverything() external {
        for (uint256 i; i < 6; ++i) {
            // Job i: owner i, one to three steps, the third in tokens.
            handler.createJob(i + 16 * i + 256 * (i % 4) + (1e18 << 128));
        }
        for (uint256 i; i < 12; ++i) {
            handler.record(i);
            handler.wait(150);
        }
        for (uint256 i; i < 12; ++i) {
            handler.settle(i);
        }
        handler.settleAgain(0);
        for (uint256 i; i < 6; ++i) {
            handler.wait(199);
            handler.close(i);
        }
        for (uint256 i; i < 8; ++i) {
            handler.withdraw(i);
        }
        string[6] memory actions = ["createJob", "record", "settle", "settleAgain", "withdraw", "close"];
        for (uint256 i; i < actions.length; ++i) {
            vm.assertGe(handler.done(actions[i]), 1, actions[i]);
        }
    }
}
