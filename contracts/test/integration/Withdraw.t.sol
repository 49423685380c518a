// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Refuser, ReentrantToken, Token} from "../utils/Tokens.sol";

contract WithdrawTest is BaseTest {
    address internal constant MINER = address(0x1111);
    uint256 internal constant PART = 333_334;

    JobParams internal p;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
    }

    function test_withdraw_coin() public {
        earn();
        vm.expectEmit(address(pot));
        emit IPot.Withdrawn(MINER, address(0), STRANGER, PART);
        vm.prank(MINER);
        pot.withdraw(address(0), STRANGER);
        vm.assertEq(STRANGER.balance, PART);
        vm.assertEq(pot.credits(address(0), MINER), 0);
    }

    function test_withdraw_token() public {
        Token token = earnTokens(new Token());
        vm.prank(MINER);
        pot.withdraw(address(token), MINER);
        vm.assertEq(token.balanceOf(MINER), PART);
        vm.assertEq(pot.credits(address(token), MINER), 0);
    }

    function test_withdraw_onceOnly() public {
        earn();
        vm.prank(MINER);
        pot.withdraw(address(0), MINER);
        vm.prank(MINER);
        vm.expectRevert(IPot.NoCredit.selector);
        pot.withdraw(address(0), MINER);
    }

    function test_withdraw_cannotReenter() public {
        ReentrantToken token = new ReentrantToken();
        token.setPot(pot);
        earnTokens(token);
        vm.prank(MINER);
        pot.withdraw(address(token), MINER);
        vm.assertEq(
            token.answer(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector)
        );
        vm.assertEq(token.balanceOf(MINER), PART);
    }

    function test_withdraw_revertsFor_noCredit() public {
        earn();
        vm.prank(STRANGER);
        vm.expectRevert(IPot.NoCredit.selector);
        pot.withdraw(address(0), STRANGER);
    }

    function test_withdraw_revertsFor_noRecipient() public {
        earn();
        vm.prank(MINER);
        vm.expectRevert(IPot.NoRecipient.selector);
        pot.withdraw(address(0), address(0));
    }

    function test_withdraw_revertsFor_recipientThatRefuses() public {
        earn();
        address refuser = address(new Refuser());
        vm.prank(MINER);
        vm.expectRevert(IPot.TransferFailed.selector);
        pot.withdraw(address(0), refuser);
        vm.assertEq(pot.credits(address(0), MINER), PART);
    }

    function earn() internal {
        bytes32 job = createJob(p);
        bytes memory data = recordNext(job, p);
        vm.warp(START + p.challengeWindow);
        pot.settle(data);
    }

    function earnTokens(Token token) internal returns (Token) {
        p.token = address(token);
        token.mint(OWNER, cost(p));
        vm.prank(OWNER);
        token.approve(address(pot), cost(p));
        earn();
        return token;
    }
}
