// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Schedule
/// @notice How a job's population rises from step to step: docs/protocol.md section 1.
/// @dev All numbers are below 2^32.
library Schedule {
    /// @notice Where step `step` is on the line from `first`, at step 0, to `last`, at step `limit`; rounded down.
    /// @param last At least `first`.
    /// @param limit Number of steps of the job; above `step`.
    function onLine(uint256 first, uint256 last, uint256 limit, uint256 step) internal pure returns (uint256) {
        unchecked {
            return first + (last - first) * step / limit;
        }
    }

    /// @notice Sum of `onLine` over the first `count` steps; `count` is at most `limit`.
    /// @dev The sum of the floors is counted as the points of a grid below a line, as Euclid's algorithm counts them:
    /// each turn exchanges the grid's two directions.
    function sumOnLine(uint256 first, uint256 last, uint256 limit, uint256 count) internal pure returns (uint256 sum) {
        sum = count * first;
        uint256 slope = last - first;
        uint256 rest;
        while (count != 0) {
            sum += count * (count - 1) / 2 * (slope / limit) + count * (rest / limit);
            slope %= limit;
            rest %= limit;
            uint256 top = slope * count + rest;
            (count, rest) = (top / limit, top % limit);
            (slope, limit) = (limit, slope);
        }
    }
}
