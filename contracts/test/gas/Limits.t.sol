// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {JobParams} from "../../src/interfaces/IPot.sol";
import {BaseTest} from "../BaseTest.sol";
import {Builder} from "../utils/Builder.sol";
import {Reference} from "../utils/Reference.sol";
import {Miner, Step, Template} from "../utils/Step.sol";

/// @notice The largest steps there may be fit a transaction each: for them the limits of rows and entries were chosen.
/// @dev 512 entries of as many miners in 64 templates with 16 siblings, so that nothing prepared for one entry serves
/// another. Coinbases have as many outputs as fit, which is what reading them costs most. Losses have no zero byte. The
/// most candidates that 512 shares may have are 4096; the most of all, 16,384, are of 256 shares.
/// forge-config: default.isolate = true
contract LimitsTest is BaseTest {
    /// @dev EIP-7825.
    uint256 internal constant TRANSACTION_GAS = 16_777_216;
    uint16 internal constant SHARES = 512;
    uint16 internal constant SHARES_OF_MANY = 256;
    uint8 internal constant TEMPLATES = 64;

    JobParams internal p;
    JobParams internal many;

    function setUp() public override {
        super.setUp();
        p = defaultParams();
        (p.candidatesPerShare, p.populationStart, p.population) = (8, 4096, 4096);
        p.minBits = 1;
        createJob(p);
        many = p;
        (many.candidatesPerShare, many.populationStart, many.population) = (64, 16_384, 16_384);
        createJob(many);
    }

    function test_gas_record512_longestCoinbases() public {
        vm.pauseGasMetering();
        measureRecord(this.prepare(p, 0, true));
    }

    /// @dev One account with scripts that differ at their end only: the dearest to compare.
    function test_gas_record512_longestScripts() public {
        vm.pauseGasMetering();
        measureRecord(this.prepare(p, SHARES - TEMPLATES + 1, false));
    }

    function test_gas_record256_mostCandidates() public {
        vm.pauseGasMetering();
        measureRecord(this.prepare(many, SHARES_OF_MANY - TEMPLATES + 1, false));
    }

    function test_gas_settle512_longestCoinbases() public {
        vm.pauseGasMetering();
        measureSettle(this.prepare(p, 0, true));
    }

    function test_gas_settle512_longestScripts() public {
        vm.pauseGasMetering();
        measureSettle(this.prepare(p, SHARES - TEMPLATES + 1, true));
    }

    function test_gas_settle256_mostCandidates() public {
        vm.pauseGasMetering();
        measureSettle(this.prepare(many, SHARES_OF_MANY - TEMPLATES + 1, true));
    }

    /// @notice The record of step 0, with the validation figures.
    /// @dev External, so that the memory it takes doesn't make the metered call's dearer.
    /// @param scripts How many miners have a payout script of 252 bytes; they share the first template.
    /// @param distinct Whether these miners have different accounts, or else different scripts.
    function prepare(JobParams calldata params, uint160 scripts, bool distinct) external view returns (bytes memory) {
        Step memory s = draft(pot.jobId(params), params, 0);
        uint160 account = uint160(uint256(keccak256("miner")));
        s.miners = new Miner[](s.entries.length);
        for (uint160 i; i < s.miners.length; ++i) {
            bytes memory script = i < scripts ? filled(252, uint16(i)) : bytes("");
            s.miners[i] = Miner(address(i < scripts && !distinct ? account : account + i), 1, script);
            s.entries[i].miner = uint16(i);
            s.entries[i].template = uint8(scripts == 0 ? i % TEMPLATES : i < scripts ? 0 : i - scripts + 1);
        }
        bytes memory coinbase = Builder.coinbase(18, outputs(71));
        vm.assertEq(coinbase.length, 755);
        s.templates = new Template[](TEMPLATES);
        for (uint256 k; k < TEMPLATES; ++k) {
            s.templates[k] = Template(0, keccak256(abi.encode(k)), 0xffff7f20, 0, coinbase, Builder.branch(16));
        }
        if (scripts != 0) {
            (s.templates[0].coinbase, s.templates[0].scriptAt) = Builder.openCoinbase(18, outputs(42));
            vm.assertEq(s.templates[0].coinbase.length + 253, 755);
        }
        finish(s);
        for (uint256 i; i < s.entries.length; ++i) {
            for (uint256 j; j < params.candidatesPerShare; ++j) {
                s.entries[i].losses[j] = type(uint40).max;
            }
        }
        return Reference.encode(s);
    }

    /// @dev `count` of the shortest outputs.
    function outputs(uint256 count) internal pure returns (bytes memory) {
        bytes[] memory parts = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            parts[i] = Builder.output(type(uint64).max, "");
        }
        return Reference.join(parts);
    }

    /// @dev The head before step 0 of the job that the record is for.
    function headOf(bytes memory data) internal view returns (bytes32) {
        return pot.heads(bytes32(Reference.slice(data, 1, 33)), 0);
    }

    /// @dev A script without zeros that ends in `number`.
    function filled(uint256 length, uint16 number) internal pure returns (bytes memory result) {
        result = new bytes(length);
        for (uint256 i; i < length; ++i) {
            result[i] = 0x51;
        }
        result[length - 2] = bytes1(uint8(number >> 8) + 1);
        result[length - 1] = bytes1(uint8(number));
    }

    function measureRecord(bytes memory data) internal {
        bytes32 head = headOf(data);
        vm.prank(OPERATOR);
        vm.resumeGasMetering();
        pot.record(head, data);
        vm.pauseGasMetering();
        vm.assertLe(vm.lastCallGas().gasTotalUsed, TRANSACTION_GAS, "gas");
        vm.resumeGasMetering();
    }

    function measureSettle(bytes memory data) internal {
        bytes32 head = headOf(data);
        vm.prank(OPERATOR);
        pot.record(head, data);
        vm.warp(START + p.challengeWindow);
        vm.resumeGasMetering();
        pot.settle(data);
        vm.pauseGasMetering();
        vm.assertLe(vm.lastCallGas().gasTotalUsed, TRANSACTION_GAS, "gas");
        vm.resumeGasMetering();
    }
}
