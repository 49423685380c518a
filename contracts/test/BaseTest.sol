// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../src/interfaces/IPot.sol";
import {Builder} from "./utils/Builder.sol";
import {Reference} from "./utils/Reference.sol";
import {Miner, Step, Template} from "./utils/Step.sol";
import {Test} from "./utils/Test.sol";

/// @notice A contract, the people around it, and one job of four candidates a step.
abstract contract BaseTest is Test {
    address internal immutable OWNER = makeAddr("owner");
    address internal immutable OPERATOR = makeAddr("operator");
    address internal immutable STRANGER = makeAddr("stranger");

    uint256 internal constant START = 1_800_000_000;
    bytes internal constant MANIFEST = '{"dataset":"digits"}';

    IPot internal pot;

    function setUp() public virtual {
        vm.warp(START);
        pot = IPot(vm.deployCode("Pot.sol:Pot"));
        vm.deal(OWNER, 1000 ether);
    }

    /* JOBS */

    function defaultParams() internal view returns (JobParams memory) {
        return JobParams({
            owner: OWNER,
            operator: OPERATOR,
            manifestHash: sha256(MANIFEST),
            initialRoot: keccak256("initial root"),
            dataRoot: keccak256("data root"),
            trainCount: 1500,
            heldOutCount: 297,
            population: 4,
            populationStart: 4,
            candidatesPerShare: 1,
            batchSize: 512,
            minBits: 2,
            window: 3,
            stepLimit: 6,
            validateEvery: 2,
            potPerStep: 1_000_003,
            operatorFee: 77,
            token: address(0),
            bond: 0,
            challengeWindow: 600,
            responseWindow: 0,
            demandBond: 0,
            stallTimeout: 3600,
            refutable: false,
            salt: bytes32(0)
        });
    }

    function cost(JobParams memory p) internal pure returns (uint256) {
        return p.stepLimit * (uint256(p.potPerStep) + p.operatorFee);
    }

    function createJob(JobParams memory p) internal returns (bytes32) {
        uint256 value = p.token == address(0) ? cost(p) : 0;
        vm.prank(p.owner);
        return pot.createJob{value: value}(p, MANIFEST);
    }

    /* STEPS */

    /// @notice works[k] of each template, from the heads on the chain.
    function worksOf(Step memory s) internal view returns (bytes32[] memory works) {
        works = new bytes32[](s.templates.length);
        for (uint256 k; k < works.length; ++k) {
            uint32 from = s.step - s.templates[k].age;
            works[k] = Reference.work(s.job, from, pot.heads(s.job, from));
        }
    }

    /// @notice A step of as many entries as it has shares, over two miners and, from step 1 on, two templates; not mined
    /// yet.
    function draft(bytes32 job, JobParams memory p, uint32 step) internal pure returns (Step memory s) {
        s.job = job;
        s.step = step;
        s.entries = Builder.entries(Reference.shares(p, step), p.candidatesPerShare);
        uint256 two = s.entries.length == 1 ? 1 : 2;
        s.miners = new Miner[](two);
        s.miners[0] = Miner(address(0x1111), p.minBits, "");
        if (two == 2) s.miners[1] = Miner(address(0x2222), p.minBits + 1, "");
        s.templates = new Template[](step == 0 ? 1 : two);
        for (uint8 k; k < s.templates.length; ++k) {
            s.templates[k] = Template({
                age: k,
                prevHash: sha256(abi.encode("prev hash", step, k)),
                nbits: 0xffff7f20,
                scriptAt: 0,
                coinbase: Builder.plainCoinbase(),
                branch: Builder.branch(k)
            });
        }
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].template = uint8(i % s.templates.length);
            s.entries[i].miner = uint16((i / 2) % s.miners.length);
        }
        s.validation = step % p.validateEvery == 0 || step + 1 == p.stepLimit;
        if (s.validation) (s.validationLoss, s.hits) = (5_000_000, 250);
        s.stateRoot = sha256(abi.encode("state root", job, step));
    }

    /// @notice Mines a draft and puts it in order.
    function finish(Step memory s) internal view returns (Step memory) {
        bytes32[] memory works = worksOf(s);
        Builder.mine(s, works);
        Builder.arrange(s, works);
        return s;
    }

    /// @notice The next step of a job, ready to be recorded.
    function nextStep(bytes32 job, JobParams memory p) internal view returns (Step memory) {
        return finish(draft(job, p, pot.steps(job)));
    }

    function record(Step memory s) internal returns (bytes memory data) {
        data = Reference.encode(s);
        bytes32 prevHead = pot.heads(s.job, s.step);
        vm.prank(OPERATOR);
        pot.record(prevHead, data);
    }

    /// @notice Records the next step; returns what was recorded.
    function recordNext(bytes32 job, JobParams memory p) internal returns (bytes memory) {
        return record(nextStep(job, p));
    }

    function expectRecordRevert(Step memory s, bytes memory error) internal {
        expectRecordRevert(s.job, s.step, Reference.encode(s), error);
    }

    function expectRecordRevert(bytes32 job, uint32 step, bytes memory data, bytes memory error) internal {
        bytes32 prevHead = pot.heads(job, step);
        vm.prank(OPERATOR);
        vm.expectRevert(error);
        pot.record(prevHead, data);
    }
}
