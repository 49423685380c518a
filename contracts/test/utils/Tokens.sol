// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {IPot} from "../../src/interfaces/IPot.sol";

contract Token is ERC20 {
    constructor() ERC20("Token", "TKN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice Keeps one unit of every transfer.
contract FeeToken is Token {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) _burn(to, 1);
    }
}

/// @notice Calls the pot again while it is being paid out of.
contract ReentrantToken is Token {
    IPot public pot;
    bytes public answer;

    function setPot(IPot pot_) external {
        pot = pot_;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from == address(pot)) {
            (, answer) = address(pot).call(abi.encodeCall(IPot.withdraw, (address(this), to)));
        }
    }
}

/// @notice Refuses the native coin.
contract Refuser {}
