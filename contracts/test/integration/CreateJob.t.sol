// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IPot, Job, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Reference} from "../utils/Reference.sol";
import {FeeToken, Token} from "../utils/Tokens.sol";

contract CreateJobTest is BaseTest {
    JobParams internal p;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
    }

    function test_createJob_keepsTheTerms() public {
        bytes32 id = keccak256(abi.encode(block.chainid, address(pot), p));
        vm.expectEmit(address(pot));
        emit IPot.JobCreated(id, OWNER, p, MANIFEST);
        bytes32 job = createJob(p);

        vm.assertEq(job, id);
        vm.assertEq(pot.jobId(p), id);
        Job memory j = pot.jobs(job);
        vm.assertEq(j.owner, OWNER);
        vm.assertEq(j.operator, OPERATOR);
        vm.assertEq(j.population, p.population);
        vm.assertEq(j.populationStart, p.populationStart);
        vm.assertEq(j.candidatesPerShare, p.candidatesPerShare);
        vm.assertEq(j.minBits, p.minBits);
        vm.assertEq(j.window, p.window);
        vm.assertEq(j.steps, 0);
        vm.assertEq(j.stepLimit, p.stepLimit);
        vm.assertEq(j.validateEvery, p.validateEvery);
        vm.assertFalse(j.closed);
        vm.assertEq(j.token, address(0));
        vm.assertEq(j.createdAt, START);
        vm.assertEq(j.potPerStep, p.potPerStep);
        vm.assertEq(j.operatorFee, p.operatorFee);
        vm.assertEq(j.challengeWindow, p.challengeWindow);
        vm.assertEq(j.stallTimeout, p.stallTimeout);
        vm.assertEq(j.stateRoot, p.initialRoot);
        vm.assertEq(j.escrow, cost(p));
        vm.assertEq(pot.escrow(job), cost(p));
        vm.assertEq(pot.stateRoot(job), p.initialRoot);
        vm.assertEq(pot.steps(job), 0);
        vm.assertEq(pot.proofCount(job), 0);
        vm.assertEq(pot.heads(job, 0), Reference.headZero(job));
        vm.assertEq(pot.heads(job, 1), 0);
        vm.assertEq(address(pot).balance, cost(p));
    }

    function test_createJob_paysInTokens() public {
        Token token = fund(new Token(), cost(p));
        bytes32 job = createJob(p);
        vm.assertEq(token.balanceOf(address(pot)), cost(p));
        vm.assertEq(pot.escrow(job), cost(p));
        vm.assertEq(pot.jobs(job).token, address(token));
    }

    function test_createJob_withoutPay() public {
        (p.potPerStep, p.operatorFee) = (0, 0);
        vm.assertEq(pot.escrow(createJob(p)), 0);
        // A token isn't even called then.
        p.token = STRANGER;
        vm.assertEq(pot.escrow(createJob(p)), 0);
    }

    /// @dev The id changes with every field, with the chain and with the contract.
    function test_createJob_idBindsEverything() public {
        bytes32 id = pot.jobId(p);
        bytes memory encoded = abi.encode(p);
        vm.assertEq(encoded.length, 25 * 32);
        for (uint256 field; field < 25; ++field) {
            bytes memory changed = bytes.concat(encoded);
            changed[32 * field + 31] ^= 0x01;
            vm.assertTrue(pot.jobId(abi.decode(changed, (JobParams))) != id);
        }
        vm.chainId(block.chainid + 1);
        vm.assertTrue(pot.jobId(p) != id);
        vm.chainId(block.chainid - 1);
        vm.assertEq(pot.jobId(p), id);
        IPot other = IPot(vm.deployCode("Pot.sol:Pot"));
        vm.assertTrue(other.jobId(p) != id);
    }

    function test_createJob_revertsFor_othersAsOwner() public {
        vm.deal(STRANGER, 1 ether);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IPot.NotOwner.selector, OWNER, STRANGER));
        pot.createJob{value: cost(p)}(p, MANIFEST);
    }

    function test_createJob_revertsFor_anotherManifest() public {
        bytes memory manifest = bytes.concat(MANIFEST, " ");
        bytes memory error = abi.encodeWithSelector(IPot.WrongManifest.selector, sha256(MANIFEST), sha256(manifest));
        vm.prank(OWNER);
        vm.expectRevert(error);
        pot.createJob{value: cost(p)}(p, manifest);
    }

    function test_createJob_revertsFor_existingJob() public {
        bytes32 job = createJob(p);
        expectRevert(abi.encodeWithSelector(IPot.JobExists.selector, job));
        p.salt = keccak256("another");
        createJob(p);
    }

    function test_createJob_revertsFor_candidatesPerShare() public {
        for (uint8 n; n < 66; n += 65) {
            p.candidatesPerShare = n;
            expectRevert(abi.encodeWithSelector(IPot.BadCandidatesPerShare.selector, n));
        }
        (p.candidatesPerShare, p.populationStart, p.population) = (64, 64, 64);
        createJob(p);
    }

    function test_createJob_revertsFor_population() public {
        p.population = 0;
        expectRevert(abi.encodeWithSelector(IPot.BadPopulation.selector, 0));
        p.candidatesPerShare = 4;
        p.population = 6;
        expectRevert(abi.encodeWithSelector(IPot.BadPopulation.selector, 6));
        p.candidatesPerShare = 64;
        p.population = 16_448;
        expectRevert(abi.encodeWithSelector(IPot.BadPopulation.selector, 16_448));
        (p.populationStart, p.population) = (64, 16_384);
        createJob(p);
    }

    function test_createJob_revertsFor_populationStart() public {
        p.populationStart = 0;
        expectRevert(abi.encodeWithSelector(IPot.BadPopulationStart.selector, 0));
        p.populationStart = 5;
        expectRevert(abi.encodeWithSelector(IPot.BadPopulationStart.selector, 5));
        (p.candidatesPerShare, p.populationStart, p.population) = (4, 6, 8);
        expectRevert(abi.encodeWithSelector(IPot.BadPopulationStart.selector, 6));
        p.populationStart = 4;
        createJob(p);
    }

    function test_createJob_revertsFor_tooManyShares() public {
        p.population = 513;
        expectRevert(abi.encodeWithSelector(IPot.TooManyShares.selector, 513, 512));
        p.population = 512;
        createJob(p);
        // 4096 candidates are the most that 512 shares may have.
        (p.candidatesPerShare, p.populationStart, p.population) = (8, 8, 4096);
        createJob(p);
        (p.candidatesPerShare, p.populationStart, p.population) = (9, 9, 4104);
        expectRevert(abi.encodeWithSelector(IPot.TooManyShares.selector, 456, 256));
        (p.candidatesPerShare, p.populationStart, p.population) = (17, 17, 17 * 256);
        createJob(p);
    }

    function test_createJob_revertsFor_batchSize() public {
        p.batchSize = 0;
        expectRevert(abi.encodeWithSelector(IPot.BadBatchSize.selector, 0));
        p.batchSize = 65_537;
        expectRevert(abi.encodeWithSelector(IPot.BadBatchSize.selector, 65_537));
        p.batchSize = 65_536;
        createJob(p);
    }

    function test_createJob_revertsFor_noTrainingSamples() public {
        p.trainCount = 0;
        expectRevert(abi.encodeWithSelector(IPot.NoTrainingSamples.selector));
    }

    function test_createJob_revertsFor_noSteps() public {
        p.stepLimit = 0;
        expectRevert(abi.encodeWithSelector(IPot.NoSteps.selector));
    }

    function test_createJob_revertsFor_validateEvery() public {
        p.validateEvery = 0;
        expectRevert(abi.encodeWithSelector(IPot.BadValidateEvery.selector));
    }

    function test_createJob_revertsFor_refutable() public {
        p.refutable = true;
        expectRevert(abi.encodeWithSelector(IPot.RefutableNotSupported.selector));
    }

    function test_createJob_revertsFor_bonds() public {
        p.bond = 1;
        expectRevert(abi.encodeWithSelector(IPot.BondNotSupported.selector));
        (p.bond, p.demandBond) = (0, 1);
        expectRevert(abi.encodeWithSelector(IPot.BondNotSupported.selector));
    }

    function test_createJob_revertsFor_wrongValue() public {
        uint256 right = cost(p);
        uint256[3] memory wrong = [right - 1, right + 1, 0];
        for (uint256 i; i < 3; ++i) {
            vm.prank(OWNER);
            vm.expectRevert(abi.encodeWithSelector(IPot.WrongValue.selector, right, wrong[i]));
            pot.createJob{value: wrong[i]}(p, MANIFEST);
        }
    }

    function test_createJob_revertsFor_valueWithTokens() public {
        fund(new Token(), cost(p));
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IPot.WrongValue.selector, 0, 1));
        pot.createJob{value: 1}(p, MANIFEST);
    }

    function test_createJob_revertsFor_tokensThatCharge() public {
        fund(new FeeToken(), cost(p));
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IPot.WrongTokenAmount.selector, cost(p), cost(p) - 1));
        pot.createJob(p, MANIFEST);
    }

    function test_createJob_revertsFor_missingApproval() public {
        Token token = fund(new Token(), cost(p));
        vm.prank(OWNER);
        token.approve(address(pot), cost(p) - 1);
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(pot), cost(p) - 1, cost(p))
        );
        pot.createJob(p, MANIFEST);
    }

    function testFuzz_createJob_escrow(uint32 stepLimit, uint128 potPerStep, uint128 fee) public {
        p.stepLimit = stepLimit == 0 ? 1 : stepLimit;
        (p.potPerStep, p.operatorFee) = (potPerStep, fee);
        vm.deal(OWNER, type(uint256).max / 2);
        bytes32 job = createJob(p);
        vm.assertEq(pot.escrow(job), uint256(p.stepLimit) * (uint256(potPerStep) + fee));
        vm.assertEq(address(pot).balance, pot.escrow(job));
    }

    function fund(Token token, uint256 amount) internal returns (Token) {
        p.token = address(token);
        token.mint(OWNER, amount);
        vm.prank(OWNER);
        token.approve(address(pot), amount);
        return token;
    }

    function expectRevert(bytes memory error) internal {
        uint256 value = cost(p);
        vm.prank(OWNER);
        vm.expectRevert(error);
        pot.createJob{value: value}(p, MANIFEST);
    }
}
