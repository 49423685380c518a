// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @notice The libraries as a contract; see test/harness/Libraries.sol.
interface ILibraries {
    /* Header */
    function sha256d(bytes calldata data) external view returns (bytes32);
    function headerHash(bytes4 version, bytes32 prevHash, bytes32 root, bytes4 ntime, bytes4 nbits, bytes4 nonce)
        external
        view
        returns (bytes32);
    function target(uint256 bits) external pure returns (uint256);
    function reverse(uint256 value) external pure returns (uint256);

    /* Marker */
    function headZero(bytes32 job) external pure returns (bytes32);
    function nextHead(bytes32 prevHead, bytes calldata stepData) external pure returns (bytes32);
    function workId(bytes32 job, uint64 step, bytes32 head) external pure returns (bytes32);
    function marker(bytes32 work, bytes32 who) external view returns (bytes32);

    /* Coinbase */
    function parse(bytes calldata coinbase, uint256 scriptAt) external pure returns (uint256 extranonceAt);
    function fill(bytes calldata coinbase, uint256 scriptAt, bytes calldata script, bytes16 extranonce, bytes32 marker_)
        external
        view
        returns (bytes memory);
    function fold(bytes32 leaf, bytes calldata branch) external view returns (bytes32);

    /* Record */
    function share(
        bytes calldata stepData,
        uint256 shareCount,
        uint256 candidates,
        bool validation,
        bytes32[] calldata works,
        uint256 entry
    ) external view returns (bytes32 digest, address payee, uint256 bits);

    /* Schedule */
    function onLine(uint256 first, uint256 last, uint256 limit, uint256 step) external pure returns (uint256);
    function sumOnLine(uint256 first, uint256 last, uint256 limit, uint256 count) external pure returns (uint256);
}
