// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IPot, Job, JobParams} from "../../src/interfaces/IPot.sol";
import {Builder} from "../utils/Builder.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step, Template} from "../utils/Step.sol";
import {Test} from "../utils/Test.sol";
import {Token} from "../utils/Tokens.sol";

/// @notice Does to the contract whatever is allowed at that time, and remembers it.
/// @dev An action that has nothing to act on returns; one that acts must not revert (`fail_on_revert`).
contract Handler is Test {
    uint256 internal constant MAX_JOBS = 6;

    IPot public immutable POT;
    Token public immutable TOKEN;
    address[4] internal accounts;

    /// @notice What the handler knows of a job.
    struct Known {
        bytes32 id;
        JobParams params;
        uint256 escrowed;
        uint256 paid;
        uint256 refunded;
    }

    Known[] internal known;
    /// @notice Steps as recorded, by job; heads as they followed each other.
    mapping(bytes32 job => bytes[]) public records;
    mapping(bytes32 job => bytes32[]) public heads;
    mapping(bytes32 job => mapping(uint256 step => bool)) public settled;

    /// @notice How often each action found something to do.
    mapping(string action => uint256) public done;

    constructor(IPot pot) {
        POT = pot;
        TOKEN = new Token();
        accounts = [makeAddr("alice"), makeAddr("bob"), makeAddr("carol"), makeAddr("dave")];
    }

    receive() external payable {}

    /* ACTIONS */

    function createJob(uint256 seed) external {
        if (known.length == MAX_JOBS) return;
        uint16 candidates = uint16(1 + seed / 131_072 % 3);
        JobParams memory p = JobParams({
            owner: accounts[seed % 4],
            operator: accounts[seed / 4 % 4],
            manifestHash: sha256(""),
            initialRoot: bytes32(seed),
            dataRoot: 0,
            trainCount: 1,
            heldOutCount: 1,
            population: candidates * uint16(1 + seed / 16 % 4),
            populationStart: candidates * uint16(1 + seed / 32_768 % (1 + seed / 16 % 4)),
            candidatesPerShare: uint8(candidates),
            batchSize: 1,
            minBits: 0,
            window: uint8(seed / 64 % 3),
            stepLimit: uint32(1 + seed / 256 % 4),
            validateEvery: uint32(1 + seed / 1024 % 3),
            potPerStep: uint128(seed >> 128) % 1e24,
            operatorFee: uint64(seed >> 64),
            token: seed % 3 == 0 ? address(TOKEN) : address(0),
            bond: 0,
            challengeWindow: uint64(seed / 4096 % 100),
            responseWindow: 0,
            demandBond: 0,
            stallTimeout: uint64(seed / 8192 % 500),
            refutable: false,
            salt: bytes32(known.length)
        });
        uint256 amount = p.stepLimit * (uint256(p.potPerStep) + p.operatorFee);
        uint256 value;
        if (p.token == address(0)) {
            value = amount;
            vm.deal(p.owner, p.owner.balance + amount);
        } else {
            TOKEN.mint(p.owner, amount);
            vm.prank(p.owner);
            TOKEN.approve(address(POT), amount);
        }
        vm.prank(p.owner);
        bytes32 id = POT.createJob{value: value}(p, "");
        known.push();
        Known storage k = known[known.length - 1];
        (k.id, k.params, k.escrowed) = (id, p, amount);
        heads[id].push(POT.heads(id, 0));
        ++done["createJob"];
    }

    function record(uint256 seed) external {
        if (known.length == 0) return;
        Known storage k = known[seed % known.length];
        Job memory j = POT.jobs(k.id);
        if (j.closed || j.steps == j.stepLimit) return;
        bytes memory data = Reference.encode(step(k, j.steps, seed));
        bytes32 prevHead = heads[k.id][j.steps];
        vm.prank(j.operator);
        heads[k.id].push(POT.record(prevHead, data));
        records[k.id].push(data);
        ++done["record"];
    }

    function settle(uint256 seed) external {
        if (known.length == 0) return;
        Known storage k = known[seed % known.length];
        uint256 count = records[k.id].length;
        for (uint256 i; i < count; ++i) {
            uint32 s = uint32((seed / 8 + i) % count);
            (uint64 recordedAt,) = POT.stepInfo(k.id, s);
            if (settled[k.id][s] || block.timestamp < recordedAt + k.params.challengeWindow) {
                continue;
            }
            POT.settle(records[k.id][s]);
            settled[k.id][s] = true;
            k.paid += uint256(k.params.potPerStep) + k.params.operatorFee;
            ++done["settle"];
            return;
        }
    }

    /// @notice Tries to settle a settled step once more; the contract must refuse.
    function settleAgain(uint256 seed) external {
        if (known.length == 0) return;
        Known storage k = known[seed % known.length];
        for (uint32 s; s < records[k.id].length; ++s) {
            if (!settled[k.id][s]) continue;
            bytes memory data = records[k.id][s];
            vm.expectRevert(abi.encodeWithSelector(IPot.AlreadySettled.selector, uint256(s)));
            POT.settle(data);
            ++done["settleAgain"];
            return;
        }
    }

    function withdraw(uint256 seed) external {
        address account = accounts[seed % 4];
        address token = seed / 4 % 2 == 0 ? address(0) : address(TOKEN);
        uint256 amount = POT.credits(token, account);
        if (amount == 0) return;
        vm.prank(account);
        POT.withdraw(token, address(this));
        ++done["withdraw"];
    }

    function close(uint256 seed) external {
        if (known.length == 0) return;
        Known storage k = known[seed % known.length];
        Job memory j = POT.jobs(k.id);
        if (j.closed || j.steps == j.stepLimit) return;
        uint256 last = j.createdAt;
        if (j.steps != 0) (last,) = POT.stepInfo(k.id, j.steps - 1);
        if (block.timestamp < last + j.stallTimeout) return;
        vm.prank(j.owner);
        POT.close(k.id);
        k.refunded = (j.stepLimit - j.steps) * (uint256(k.params.potPerStep) + k.params.operatorFee);
        ++done["close"];
    }

    function wait(uint256 seed) external {
        vm.warp(block.timestamp + seed % 200);
    }

    /* WHAT IT KNOWS */

    function jobCount() external view returns (uint256) {
        return known.length;
    }

    function job(uint256 i) external view returns (Known memory) {
        return known[i];
    }

    function headCount(bytes32 id) external view returns (uint256) {
        return heads[id].length;
    }

    /// @notice All that `token` owes, in escrow and as credit.
    function owed(address token) external view returns (uint256 sum) {
        for (uint256 i; i < known.length; ++i) {
            if (known[i].params.token == token) sum += POT.escrow(known[i].id);
        }
        for (uint256 i; i < accounts.length; ++i) {
            sum += POT.credits(token, accounts[i]);
        }
    }

    /// @dev A valid step, all rows of which are one account's, with different difficulties.
    function step(Known storage k, uint32 number, uint256 seed) internal view returns (Step memory s) {
        JobParams memory p = k.params;
        s.job = k.id;
        s.step = number;
        s.entries = Builder.entries(Reference.shares(p, number), p.candidatesPerShare);
        s.miners = new Miner[](1 + seed / 8 % s.entries.length);
        for (uint8 i; i < s.miners.length; ++i) {
            s.miners[i] = Miner(accounts[seed / 64 % 4], i, "");
        }
        uint8 age = uint8(seed / 256 % (1 + p.window));
        s.templates = new Template[](1);
        s.templates[0] = Template({
            age: age > number ? 0 : age,
            prevHash: bytes32(seed),
            nbits: 0xffff7f20,
            scriptAt: 0,
            coinbase: Builder.coinbase(17, ""),
            branch: new bytes32[](0)
        });
        for (uint256 i; i < s.entries.length; ++i) {
            s.entries[i].miner = uint16(i % s.miners.length);
        }
        s.validation = number % p.validateEvery == 0 || number + 1 == p.stepLimit;
        s.stateRoot = bytes32(seed);

        uint32 from = number - s.templates[0].age;
        bytes32[] memory works = new bytes32[](1);
        works[0] = Reference.work(k.id, from, heads[k.id][from]);
        Builder.mine(s, works);
        Builder.arrange(s, works);
    }
}
