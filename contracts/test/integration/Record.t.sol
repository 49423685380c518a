// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Builder} from "../utils/Builder.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step, Template} from "../utils/Step.sol";

/// @notice Recording: what a good record does, and one test for each way of refusing a bad one.
contract RecordTest is BaseTest {
    JobParams internal p;
    bytes32 internal job;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        job = createJob(p);
    }

    /* GOOD RECORDS */

    function test_record_chainsTheStep() public {
        Step memory s = nextStep(job, p);
        bytes memory data = Reference.encode(s);
        bytes32 prevHead = pot.heads(job, 0);
        bytes32 newHead = keccak256(bytes.concat(prevHead, keccak256(data)));

        vm.warp(START + 5);
        vm.expectEmit(address(pot));
        emit IPot.StepRecorded(job, 0, prevHead, newHead, data);
        vm.prank(OPERATOR);
        vm.assertEq(pot.record(prevHead, data), newHead);

        vm.assertEq(pot.heads(job, 1), newHead);
        vm.assertEq(pot.steps(job), 1);
        vm.assertEq(pot.stateRoot(job), s.stateRoot);
        vm.assertEq(pot.proofCount(job), 4);
        (uint64 recordedAt, bool settled) = pot.stepInfo(job, 0);
        vm.assertEq(recordedAt, START + 5);
        vm.assertFalse(settled);
    }

    function test_record_allSteps() public {
        for (uint32 step; step < p.stepLimit; ++step) {
            vm.warp(START + 10 * step);
            recordNext(job, p);
        }
        vm.assertEq(pot.steps(job), p.stepLimit);
        for (uint32 step; step < p.stepLimit; ++step) {
            (uint64 recordedAt, bool settled) = pot.stepInfo(job, step);
            vm.assertEq(recordedAt, START + 10 * step);
            vm.assertFalse(settled);
        }
        vm.assertEq(pot.proofCount(job), uint256(p.stepLimit) * p.population);
    }

    function test_record_oldestTemplateOfTheWindow() public {
        for (uint256 i; i < 4; ++i) {
            recordNext(job, p);
        }
        Step memory s = draft(job, p, 4);
        s.templates[1].age = 3;
        record(finish(s));
        vm.assertEq(pot.steps(job), 5);
    }

    function test_record_payoutScripts() public {
        Step memory s = withScripts();
        record(finish(s));
        vm.assertEq(pot.steps(job), 1);
    }

    function test_record_longestCoinbaseAndBranch() public {
        (p.populationStart, p.population) = (1, 1);
        job = createJob(p);
        Step memory s = draft(job, p, 0);
        // 115 bytes for the shortest form, 83 more of scriptSig, 557 of outputs: 755.
        bytes memory outputs = bytes.concat(
            Builder.output(1, new bytes(252)), Builder.output(2, new bytes(252)), Builder.output(3, new bytes(26))
        );
        s.templates[0].coinbase = Builder.coinbase(100, outputs);
        vm.assertEq(s.templates[0].coinbase.length, 755);
        s.templates[0].branch = Builder.branch(16);
        record(finish(s));
        vm.assertEq(pot.steps(job), 1);
    }

    function test_record_shortestCoinbase() public {
        (p.populationStart, p.population) = (1, 1);
        job = createJob(p);
        Step memory s = draft(job, p, 0);
        s.templates[0].coinbase = Builder.coinbase(17, "");
        vm.assertEq(s.templates[0].coinbase.length, 115);
        record(finish(s));
        vm.assertEq(pot.steps(job), 1);
    }

    function test_record_manyRows() public {
        (p.populationStart, p.population) = (60, 60);
        p.minBits = 0;
        job = createJob(p);
        Step memory s = draft(job, p, 0);
        s.miners = new Miner[](60);
        s.templates = new Template[](30);
        Template memory t = draft(job, p, 0).templates[0];
        for (uint160 i; i < 60; ++i) {
            s.miners[i] = Miner(address(i), 0, "");
            s.entries[i].miner = uint16(i);
            s.entries[i].template = uint8(i / 2);
            s.templates[i / 2] = Template(0, bytes32(uint256(i)), t.nbits, t.scriptAt, t.coinbase, t.branch);
        }
        record(finish(s));
        vm.assertEq(pot.steps(job), 1);
    }

    /// @dev The same miner with two difficulties, and with two scripts of which the first 32 bytes are the same.
    function test_record_rowsThatDifferLate() public {
        Step memory s = withScripts();
        bytes memory script = abi.encodePacked(bytes32("a payout script of 33 bytes"), hex"01");
        s.miners[0] = Miner(address(0x1111), 2, script);
        script = abi.encodePacked(bytes32("a payout script of 33 bytes"), hex"02");
        s.miners[1] = Miner(address(0x1111), 2, script);
        record(finish(s));
        vm.assertEq(pot.steps(job), 1);
    }

    /* WHO, WHEN, WHERE */

    function test_record_revertsFor_unknownJob() public {
        Step memory s = nextStep(job, p);
        s.job = keccak256("no job");
        expectRecordRevert(s, abi.encodeWithSelector(IPot.UnknownJob.selector, s.job));
    }

    function test_record_revertsFor_strangers() public {
        bytes memory data = Reference.encode(nextStep(job, p));
        bytes32 head = pot.heads(job, 0);
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IPot.NotOperator.selector, OPERATOR, OWNER));
        pot.record(head, data);
    }

    function test_record_revertsFor_closedJob() public {
        Step memory s = nextStep(job, p);
        vm.warp(START + p.stallTimeout);
        vm.prank(OWNER);
        pot.close(job);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.JobIsClosed.selector, job));
    }

    function test_record_revertsFor_completeJob() public {
        p.stepLimit = 1;
        job = createJob(p);
        Step memory s = nextStep(job, p);
        record(s);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.JobIsComplete.selector, job));
    }

    function test_record_revertsFor_anotherStep() public {
        Step memory s = nextStep(job, p);
        s.step = 1;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.WrongStep.selector, 0, 1));
        s.step = 0;
        record(s);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.WrongStep.selector, 1, 0));
    }

    function test_record_revertsFor_anotherHead() public {
        bytes memory data = Reference.encode(nextStep(job, p));
        bytes32 head = pot.heads(job, 0);
        bytes32 other = keccak256("other head");
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(IPot.WrongHead.selector, head, other));
        pot.record(other, data);
    }

    /* LENGTHS */

    function test_record_revertsFor_anotherVersion() public {
        bytes memory data = Reference.encode(nextStep(job, p));
        data[0] = 0x02;
        expectRecordRevert(job, 0, data, abi.encodeWithSelector(IPot.UnknownVersion.selector, 2));
    }

    /// @dev A record that is cut anywhere never passes: the error tells how far it must reach at least.
    function test_record_revertsFor_everyTruncation() public {
        Step memory s = withScripts();
        s.templates[0].branch = Builder.branch(2);
        bytes memory data = Reference.encode(finish(s));
        for (uint256 length; length < data.length; ++length) {
            (bool ok, bytes memory error) = tryRecord(Reference.slice(data, 0, length));
            vm.assertFalse(ok);
            vm.assertEq(bytes32(bytes4(error)), bytes32(IPot.Truncated.selector));
        }
        (bool whole,) = tryRecord(data);
        vm.assertTrue(whole);
    }

    function test_record_revertsFor_trailingBytes() public {
        bytes memory data = Reference.encode(nextStep(job, p));
        expectRecordRevert(
            job,
            0,
            bytes.concat(data, hex"00"),
            abi.encodeWithSelector(IPot.TrailingBytes.selector, data.length, data.length + 1)
        );
    }

    /// @dev Step 1 of this job carries no validation figures, the last step does.
    function test_record_revertsFor_validationOutOfPlace() public {
        recordNext(job, p);
        Step memory s = nextStep(job, p);
        uint256 length = Reference.encode(s).length;
        s.validation = true;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TrailingBytes.selector, length, length + 9));
        s.validation = false;
        record(s);
        while (pot.steps(job) < 5) recordNext(job, p);
        s = nextStep(job, p);
        length = Reference.encode(s).length;
        s.validation = false;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.Truncated.selector, length, length - 9));
    }

    /// @dev What data a job is given while it runs isn't for the contract to judge.
    function test_record_anyDataRoot() public {
        Step memory s = nextStep(job, p);
        s.dataRoot = keccak256("data");
        record(s);
        s = nextStep(job, p);
        s.dataRoot = bytes32(type(uint256).max);
        record(s);
        vm.assertEq(pot.steps(job), 2);
    }

    /* CANDIDATES AND SCHEDULE */

    /// @dev Two candidates a share, from one share to four in nine steps: 1 1 1 2 2 2 3 3 3.
    function test_record_risingPopulation() public {
        (p.candidatesPerShare, p.populationStart, p.population, p.stepLimit) = (2, 2, 8, 9);
        job = createJob(p);
        uint256 proofs;
        for (uint32 step; step < 9; ++step) {
            Step memory s = draft(job, p, step);
            vm.assertEq(s.entries.length, 1 + step / 3);
            for (uint256 i; i < s.entries.length; ++i) {
                s.entries[i].miner = uint16(i % s.miners.length);
            }
            vm.assertEq(Reference.encodeEntry(s.entries[0]).length, 41);
            record(finish(s));
            proofs += s.entries.length;
            vm.assertEq(pot.proofCount(job), proofs);
        }
    }

    function test_record_mostCandidates() public {
        (p.candidatesPerShare, p.populationStart, p.population) = (64, 192, 192);
        job = createJob(p);
        bytes memory data = recordNext(job, p);
        recordNext(job, p);
        vm.assertEq(pot.proofCount(job), 6);
        vm.warp(block.timestamp + p.challengeWindow);
        pot.settle(data);
    }

    /// @dev A step takes its own number of shares, not the one before's, and each has all of its losses.
    function test_record_revertsFor_anotherNumberOfShares() public {
        (p.candidatesPerShare, p.populationStart, p.population, p.stepLimit) = (2, 2, 8, 9);
        p.validateEvery = 100;
        job = createJob(p);
        while (pot.steps(job) < 3) recordNext(job, p);
        Step memory s = nextStep(job, p);
        uint256 length = Reference.encode(s).length;
        (p.populationStart, p.population) = (2, 2);
        Step memory fewer = nextStep(job, p);
        uint256 short = Reference.encode(fewer).length;
        expectRecordRevert(fewer, abi.encodeWithSelector(IPot.Truncated.selector, short + 41, short));
        (p.populationStart, p.population) = (6, 6);
        expectRecordRevert(nextStep(job, p), abi.encodeWithSelector(IPot.TrailingBytes.selector, length, length + 41));
        s.entries[1].losses = new uint40[](1);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.Truncated.selector, length, length - 5));
        s.entries[1].losses = new uint40[](3);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TrailingBytes.selector, length, length + 5));
    }

    /* MINER ROWS */

    function test_record_revertsFor_noMiners() public {
        Step memory s = nextStep(job, p);
        s.miners = new Miner[](0);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.BadMinerCount.selector, 0));
    }

    function test_record_revertsFor_tooManyMiners() public {
        Step memory s = nextStep(job, p);
        s.miners = new Miner[](513);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.BadMinerCount.selector, 513));
    }

    function test_record_revertsFor_minersOutOfOrder() public {
        Step memory s = draft(job, p, 0);
        (s.miners[0], s.miners[1]) = (s.miners[1], s.miners[0]);
        expectRecordRevert(finish(s), abi.encodeWithSelector(IPot.MinersNotAscending.selector, 1));
    }

    function test_record_revertsFor_minersTwice() public {
        Step memory s = draft(job, p, 0);
        s.miners[1] = s.miners[0];
        expectRecordRevert(finish(s), abi.encodeWithSelector(IPot.MinersNotAscending.selector, 1));
    }

    function test_record_revertsFor_scriptsOutOfOrder() public {
        Step memory s = withScripts();
        s.miners[0].script = new bytes(64);
        s.miners[0].script[40] = 0x01;
        s.miners[1] = Miner(s.miners[0].account, s.miners[0].bits, new bytes(64));
        bytes memory error = abi.encodeWithSelector(IPot.MinersNotAscending.selector, 1);
        expectRecordRevert(s, error);
        s.miners[0].script[40] = 0x00;
        expectRecordRevert(s, error);
    }

    function test_record_revertsFor_lowBits() public {
        Step memory s = draft(job, p, 0);
        s.miners[1].bits = p.minBits - 1;
        expectRecordRevert(finish(s), abi.encodeWithSelector(IPot.BitsBelowMinimum.selector, 1));
    }

    function test_record_revertsFor_longScript() public {
        Step memory s = withScripts();
        s.miners[1].script = new bytes(253);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.ScriptTooLong.selector, 1));
    }

    function test_record_revertsFor_unusedMiner() public {
        Step memory s = draft(job, p, 0);
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].miner = 1;
        }
        expectRecordRevert(finish(s), abi.encodeWithSelector(IPot.UnusedMiner.selector, 0));
    }

    /* TEMPLATE ROWS */

    function test_record_revertsFor_noTemplates() public {
        Step memory s = nextStep(job, p);
        s.templates = new Template[](0);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.BadTemplateCount.selector, 0));
    }

    function test_record_revertsFor_tooManyTemplates() public {
        Step memory s = nextStep(job, p);
        s.templates = new Template[](65);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.BadTemplateCount.selector, 65));
    }

    function test_record_revertsFor_templateBeforeTheJob() public {
        Step memory s = nextStep(job, p);
        s.templates[0].age = 1;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TemplateTooOld.selector, 0));
    }

    function test_record_revertsFor_templateBeforeTheWindow() public {
        for (uint256 i; i < 5; ++i) {
            recordNext(job, p);
        }
        Step memory s = draft(job, p, 5);
        s.templates[1].age = 4;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TemplateTooOld.selector, 1));
    }

    function test_record_revertsFor_longBranch() public {
        Step memory s = nextStep(job, p);
        s.templates[0].branch = Builder.branch(17);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.BranchTooLong.selector, 0));
    }

    function test_record_revertsFor_equalTemplates() public {
        recordNext(job, p);
        Step memory s = draft(job, p, 1);
        s.templates[1] = s.templates[0];
        expectRecordRevert(finish(s), abi.encodeWithSelector(IPot.DuplicateTemplate.selector, 1));
    }

    function test_record_revertsFor_templatesOutOfOrder() public {
        recordNext(job, p);
        Step memory s = nextStep(job, p);
        (s.templates[0], s.templates[1]) = (s.templates[1], s.templates[0]);
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].template ^= 1;
        }
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TemplateOutOfOrder.selector, 0));
    }

    function test_record_revertsFor_unknownTemplate() public {
        Step memory s = nextStep(job, p);
        s.entries[2].template = 1;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.TemplateOutOfOrder.selector, 2));
    }

    function test_record_revertsFor_unusedTemplate() public {
        recordNext(job, p);
        Step memory s = draft(job, p, 1);
        Template[] memory both = s.templates;
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].template = 0;
        }
        s.templates = new Template[](1);
        s.templates[0] = both[0];
        s = finish(s);
        s.templates = both;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.UnusedTemplate.selector, 1));
    }

    /* COINBASES */

    function test_record_revertsFor_shortCoinbase() public {
        expectCoinbaseRevert(new bytes(114), 0, abi.encodeWithSelector(IPot.CoinbaseTooShort.selector, 114));
        bytes memory cb = Builder.coinbase(17, "");
        // One byte more of scriptSig, which takes the sequence's first, leaves none for the number of outputs.
        cb[41] = bytes1(uint8(18));
        cb[59] = 0x00;
        expectCoinbaseRevert(cb, 0, abi.encodeWithSelector(IPot.CoinbaseTooShort.selector, 115));
    }

    function test_record_revertsFor_longCoinbase() public {
        expectCoinbaseRevert(new bytes(756), 0, abi.encodeWithSelector(IPot.CoinbaseTooLong.selector, 756));
    }

    /// @dev Within the limit as recorded, beyond it with its miner's script.
    function test_record_revertsFor_longCoinbaseWithScript() public {
        Step memory s = withScripts();
        (s.templates[0].coinbase, s.templates[0].scriptAt) = Builder.openCoinbase(
            100, bytes.concat(Builder.output(1, new bytes(252)), Builder.output(1, new bytes(200)))
        );
        uint256 length = s.templates[0].coinbase.length;
        s.miners[0].script = new bytes(755 - length);
        s.miners[1].script = new bytes(1);
        expectRecordRevert(Reference.encode(s), abi.encodeWithSelector(IPot.CoinbaseTooLong.selector, 756));
    }

    function test_record_revertsFor_coinbaseInputs() public {
        bytes memory error = abi.encodeWithSelector(IPot.BadCoinbaseInput.selector);
        bytes memory cb = Builder.plainCoinbase();
        cb[4] = 0x02;
        expectCoinbaseRevert(cb, 0, error);
        for (uint256 i = 5; i < 41; ++i) {
            cb = Builder.plainCoinbase();
            cb[i] ^= 0x10;
            expectCoinbaseRevert(cb, 0, error);
        }
    }

    function test_record_revertsFor_scriptSigLength() public {
        expectCoinbaseRevert(
            Builder.coinbase(16, Builder.output(0, "")), 0, abi.encodeWithSelector(IPot.BadScriptSigLength.selector, 16)
        );
        expectCoinbaseRevert(
            Builder.coinbase(101, ""), 0, abi.encodeWithSelector(IPot.BadScriptSigLength.selector, 101)
        );
    }

    function test_record_revertsFor_extranonceInTemplate() public {
        for (uint256 i; i < 16; ++i) {
            bytes memory cb = Builder.plainCoinbase();
            cb[42 + 32 - 16 + i] = 0x01;
            expectCoinbaseRevert(cb, 0, abi.encodeWithSelector(IPot.ExtranonceNotZero.selector));
        }
    }

    function test_record_revertsFor_outputCount() public {
        expectCoinbaseRevert(Builder.coinbase(32, 0, ""), 0, abi.encodeWithSelector(IPot.BadOutputCount.selector, 0));
        expectCoinbaseRevert(
            Builder.coinbase(32, 253, ""), 0, abi.encodeWithSelector(IPot.BadOutputCount.selector, 253)
        );
    }

    function test_record_revertsFor_outputs() public {
        uint256 at = 42 + 32 + 4 + 1;
        // One output more than is counted; one less; a script that runs into the marker; a long length.
        expectCoinbaseRevert(
            Builder.coinbase(32, 1, Builder.output(1, hex"51")), 0, abi.encodeWithSelector(IPot.BadOutputs.selector, at)
        );
        expectCoinbaseRevert(Builder.coinbase(32, 2, ""), 0, abi.encodeWithSelector(IPot.BadOutputs.selector, at + 8));
        bytes memory outputs = Builder.output(1, hex"51");
        outputs[8] = 0x02;
        expectCoinbaseRevert(
            Builder.coinbase(32, 2, outputs), 0, abi.encodeWithSelector(IPot.BadOutputs.selector, at + 11)
        );
        outputs = Builder.output(1, new bytes(253));
        expectCoinbaseRevert(
            Builder.coinbase(32, 2, outputs), 0, abi.encodeWithSelector(IPot.BadOutputs.selector, at + 8)
        );
    }

    function test_record_revertsFor_markerOutput() public {
        bytes memory cb = Builder.plainCoinbase();
        for (uint256 i = cb.length - 51; i < cb.length - 36; ++i) {
            cb = Builder.plainCoinbase();
            cb[i] ^= 0x01;
            expectCoinbaseRevert(cb, 0, abi.encodeWithSelector(IPot.BadMarkerOutput.selector));
        }
    }

    function test_record_revertsFor_markerInTemplate() public {
        bytes memory cb = Builder.plainCoinbase();
        for (uint256 i = cb.length - 36; i < cb.length - 4; ++i) {
            cb = Builder.plainCoinbase();
            cb[i] = 0x80;
            expectCoinbaseRevert(cb, 0, abi.encodeWithSelector(IPot.MarkerNotZero.selector));
        }
    }

    function test_record_revertsFor_scriptPlace() public {
        // The only place for a script in the first coinbase is none, in the second it is one other than these.
        bytes memory cb = Builder.plainCoinbase();
        for (uint16 at = 1; at < cb.length + 2; ++at) {
            expectCoinbaseRevert(cb, at, abi.encodeWithSelector(IPot.BadScriptPlace.selector, at));
        }
        (bytes memory open, uint16 scriptAt) = Builder.openCoinbase(20, "");
        for (uint16 at; at < open.length + 2; ++at) {
            if (at == scriptAt) continue;
            expectCoinbaseRevert(open, at, abi.encodeWithSelector(IPot.BadOutputs.selector, scriptAt));
        }
    }

    /* ENTRIES */

    function test_record_revertsFor_unknownMiner() public {
        Step memory s = nextStep(job, p);
        s.entries[1].miner = 2;
        expectRecordRevert(s, abi.encodeWithSelector(IPot.MinerOutOfRange.selector, 1));
    }

    function test_record_revertsFor_scriptWithoutPlace() public {
        Step memory s = draft(job, p, 0);
        s.miners[0].script = hex"51";
        expectRecordRevert(s, abi.encodeWithSelector(IPot.ScriptMismatch.selector, 0));
    }

    function test_record_revertsFor_placeWithoutScript() public {
        Step memory s = withScripts();
        s.miners[0].script = "";
        expectRecordRevert(s, abi.encodeWithSelector(IPot.ScriptMismatch.selector, 0));
    }

    function test_record_revertsFor_entriesOutOfOrder() public {
        Step memory s = nextStep(job, p);
        (s.entries[1], s.entries[2]) = (s.entries[2], s.entries[1]);
        expectRecordRevert(s, abi.encodeWithSelector(IPot.EntriesNotAscending.selector, 2));
    }

    function test_record_revertsFor_entryTwice() public {
        Step memory s = nextStep(job, p);
        s.entries[2] = s.entries[1];
        expectRecordRevert(s, abi.encodeWithSelector(IPot.EntriesNotAscending.selector, 2));
    }

    function test_record_revertsFor_lowWork() public {
        (p.populationStart, p.population) = (1, 1);
        job = createJob(p);
        Step memory s = nextStep(job, p);
        while (Reference.meets(Reference.shareHash(s, 0, worksOf(s)), p.minBits)) {
            s.entries[0].nonce = bytes4(uint32(s.entries[0].nonce) + 1);
        }
        expectRecordRevert(s, abi.encodeWithSelector(IPot.HashAboveTarget.selector, 0));
    }

    /// @dev A share with another miner's row, difficulty, step or job is another hash: 16 bits of work don't carry over.
    function test_record_revertsFor_stolenWork() public {
        (p.populationStart, p.population) = (1, 1);
        p.minBits = 12;
        job = createJob(p);
        Step memory s = nextStep(job, p);
        bytes memory error = abi.encodeWithSelector(IPot.HashAboveTarget.selector, 0);
        s.miners[0].account = STRANGER;
        expectRecordRevert(s, error);
        s.miners[0].account = address(0x1111);
        s.miners[0].bits = p.minBits + 1;
        expectRecordRevert(s, error);
        s.miners[0].bits = p.minBits;

        p.salt = keccak256("another job");
        bytes32 other = createJob(p);
        s.job = other;
        expectRecordRevert(s, error);
        s.job = job;

        record(s);
        s.step = 1;
        s.validation = false;
        expectRecordRevert(s, error);
    }

    /* HELPERS */

    /// @notice Step 0 with two miners that have payout scripts of different lengths.
    function withScripts() internal view returns (Step memory s) {
        s = draft(job, p, 0);
        s.miners[0].script = hex"76a914000102030405060708090a0b0c0d0e0f1011121388ac";
        s.miners[1].script = abi.encodePacked(hex"5120", keccak256("taproot key"));
        (s.templates[0].coinbase, s.templates[0].scriptAt) = Builder.openCoinbase(28, Builder.output(0, hex"6a0199"));
    }

    function expectCoinbaseRevert(bytes memory cb, uint16 scriptAt, bytes memory error) internal {
        Step memory s = draft(job, p, 0);
        s.templates[0].coinbase = cb;
        s.templates[0].scriptAt = scriptAt;
        expectRecordRevert(s, error);
    }

    function expectRecordRevert(bytes memory data, bytes memory error) internal {
        expectRecordRevert(job, 0, data, error);
    }

    function tryRecord(bytes memory data) internal returns (bool, bytes memory) {
        bytes memory call = abi.encodeCall(IPot.record, (pot.heads(job, 0), data));
        vm.prank(OPERATOR);
        return address(pot).call(call);
    }
}
