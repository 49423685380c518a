// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Builder} from "../utils/Builder.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step, Template} from "../utils/Step.sol";

/// @notice What the calls cost as whole transactions: 64 entries of three miners, standalone coinbases of 130 bytes.
/// @dev Only the call under test is metered, and `isolate` makes it a transaction of its own: 21,000, calldata and cold
/// storage included. Steps before it are recorded in `setUp`.
/// forge-config: default.isolate = true
contract GasTest is BaseTest {
    uint256 internal constant STANDALONE_BUDGET = 300_000;
    uint256 internal constant SIBLINGS_BUDGET = 750_000;

    JobParams internal p;
    bytes32 internal job;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        (p.populationStart, p.population) = (64, 64);
        p.stepLimit = 1000;
        p.minBits = 1;
        vm.deal(OWNER, 10 ether);
        job = createJob(p);
        for (uint256 i; i < 4; ++i) {
            recordNext(job, p);
        }
    }

    function test_gas_createJob() public {
        vm.pauseGasMetering();
        p.salt = keccak256("gas");
        JobParams memory params = p;
        vm.prank(OWNER);
        vm.resumeGasMetering();
        pot.createJob{value: cost(params)}(params, MANIFEST);
    }

    function test_gas_record64_oneMiner() public {
        vm.pauseGasMetering();
        measure(this.prepare(1, 1, 0), STANDALONE_BUDGET);
    }

    function test_gas_record64_standalone() public {
        vm.pauseGasMetering();
        measure(this.prepare(3, 1, 0), STANDALONE_BUDGET);
    }

    function test_gas_record64_threeTemplates() public {
        vm.pauseGasMetering();
        measure(this.prepare(3, 3, 0), STANDALONE_BUDGET);
    }

    function test_gas_record64_fourSiblings() public {
        vm.pauseGasMetering();
        measure(this.prepare(3, 1, 4), SIBLINGS_BUDGET);
    }

    function test_gas_record64_twelveSiblings() public {
        vm.pauseGasMetering();
        measure(this.prepare(3, 1, 12), SIBLINGS_BUDGET);
    }

    function test_gas_settle64() public {
        vm.pauseGasMetering();
        bytes memory data = this.prepare(3, 1, 0);
        bytes32 head = pot.heads(job, 4);
        vm.prank(OPERATOR);
        pot.record(head, data);
        vm.warp(START + p.challengeWindow);
        vm.resumeGasMetering();
        pot.settle(data);
    }

    /// @notice A record of step 4, whose time begins a new slot: the dearest of four.
    /// @dev External, so that the memory it takes doesn't make the metered call's dearer.
    function prepare(uint160 miners, uint8 templates, uint256 siblings) external view returns (bytes memory) {
        Step memory s = draft(job, p, 4);
        s.miners = new Miner[](miners);
        for (uint160 i; i < miners; ++i) {
            s.miners[i] = Miner(address(uint160(uint256(keccak256("miner"))) + i), 4, "");
        }
        s.templates = new Template[](templates);
        for (uint8 k; k < templates; ++k) {
            s.templates[k] = Template({
                age: k,
                prevHash: keccak256("prev hash"),
                nbits: 0xffff7f20,
                scriptAt: 0,
                coinbase: Builder.plainCoinbase(),
                branch: Builder.branch(siblings)
            });
        }
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].miner = uint16(i % miners);
            s.entries[i].template = uint8(i / miners % templates);
        }
        return Reference.encode(finish(s));
    }

    function measure(bytes memory data, uint256 budget) internal {
        bytes32 head = pot.heads(job, 4);
        vm.prank(OPERATOR);
        vm.resumeGasMetering();
        pot.record(head, data);
        vm.pauseGasMetering();
        vm.assertLe(vm.lastCallGas().gasTotalUsed, budget, "gas");
        vm.resumeGasMetering();
    }
}
