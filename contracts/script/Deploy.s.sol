// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Pot} from "../src/Pot.sol";

interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// @notice Deploys the contract; it takes no arguments and has no owner.
/// @dev tools/forge script script/Deploy.s.sol --broadcast --rpc-url URL --account NAME
contract Deploy {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external returns (Pot pot) {
        vm.startBroadcast();
        pot = new Pot();
        vm.stopBroadcast();
    }
}
