// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPot, Job, JobParams} from "./interfaces/IPot.sol";
import {Marker} from "./libraries/Marker.sol";
import {Record} from "./libraries/Record.sol";
import {Schedule} from "./libraries/Schedule.sol";

/// @title Pot
/// @notice The registry of training jobs: see IPot for what it does, checks and assumes.
contract Pot is IPot, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /* CONSTANTS */

    /// @dev A step must be recorded and settled by one transaction each, which may take 16,777,216 gas (EIP-7825).
    /// Settling for as many payees as there may be shares takes most of it, and what remains has room for the losses of
    /// `MANY_CANDIDATES`; a step of more has so many fewer shares that there is room for all.
    uint256 private constant MAX_SHARES = 512;
    uint256 private constant MAX_SHARES_OF_MANY = 256;
    uint256 private constant MANY_CANDIDATES = 4096;
    uint256 private constant MAX_POPULATION = 16_384;
    uint256 private constant MAX_CANDIDATES_PER_SHARE = 64;
    uint256 private constant MAX_BATCH_SIZE = 65_536;

    /// @dev A step's time and whether it is settled take 64 bits, so four steps share a slot and three records of four
    /// pay for changing a slot instead of filling one.
    uint256 private constant STEPS_PER_SLOT = 4;
    uint256 private constant STEP_BITS = 64;
    uint256 private constant STEP_MASK = type(uint64).max;
    /// @dev The top one of a step's bits says that it is settled; the others hold the block time of its record.
    uint256 private constant SETTLED = 1 << 63;

    /* STORAGE */

    mapping(bytes32 job => Job) private _jobs;
    mapping(bytes32 job => mapping(uint256 step => bytes32)) private _heads;
    mapping(bytes32 job => mapping(uint256 slot => uint256)) private _steps;
    mapping(address token => mapping(address account => uint256)) private _credits;

    /* JOBS */

    /// @inheritdoc IPot
    function createJob(JobParams calldata params, bytes calldata manifest)
        external
        payable
        nonReentrant
        returns (bytes32 job)
    {
        _checkParams(params);
        bytes32 manifestHash = sha256(manifest);
        require(manifestHash == params.manifestHash, WrongManifest(params.manifestHash, manifestHash));
        job = jobId(params);
        require(_jobs[job].owner == address(0), JobExists(job));

        uint256 amount = params.stepLimit * (uint256(params.potPerStep) + params.operatorFee);
        _jobs[job] = Job({
            operator: params.operator,
            population: params.population,
            minBits: params.minBits,
            window: params.window,
            steps: 0,
            stepLimit: params.stepLimit,
            owner: params.owner,
            validateEvery: params.validateEvery,
            closed: false,
            populationStart: params.populationStart,
            candidatesPerShare: params.candidatesPerShare,
            token: params.token,
            createdAt: uint64(block.timestamp),
            potPerStep: params.potPerStep,
            operatorFee: params.operatorFee,
            challengeWindow: params.challengeWindow,
            stallTimeout: params.stallTimeout,
            stateRoot: params.initialRoot,
            escrow: amount
        });
        _heads[job][0] = Marker.headZero(job);
        emit JobCreated(job, params.owner, params, manifest);

        _pull(params.token, amount);
    }

    /// @inheritdoc IPot
    function close(bytes32 job) external {
        Job storage j = _job(job);
        require(msg.sender == j.owner, NotOwner(j.owner, msg.sender));
        require(!j.closed, JobIsClosed(job));
        uint256 recorded = j.steps;
        require(recorded != j.stepLimit, JobIsComplete(job));
        uint256 last = recorded == 0 ? j.createdAt : _stepWord(job, recorded - 1) & ~SETTLED;
        uint256 until = last + j.stallTimeout;
        require(block.timestamp >= until, NotStalled(until));

        uint256 refund = (j.stepLimit - recorded) * (uint256(j.potPerStep) + j.operatorFee);
        j.closed = true;
        j.escrow -= refund;
        _credits[j.token][j.owner] += refund;
        emit JobClosed(job, refund);
    }

    /* STEPS */

    /// @inheritdoc IPot
    function record(bytes32 prevHead, bytes calldata stepData) external returns (bytes32 newHead) {
        (bytes32 job, uint32 step) = Record.head(stepData);
        Job storage j = _job(job);
        require(msg.sender == j.operator, NotOperator(j.operator, msg.sender));
        require(!j.closed, JobIsClosed(job));
        require(j.steps != j.stepLimit, JobIsComplete(job));
        require(step == j.steps, WrongStep(j.steps, step));
        bytes32 head = _heads[job][step];
        require(prevHead == head, WrongHead(head, prevHead));

        Record.Parts memory parts = Record.parse(stepData, _rules(j, step, false));
        for (uint256 i; i < parts.templates.length; ++i) {
            Record.Template memory template = parts.templates[i];
            uint32 from = step - template.age;
            template.work = Marker.workId(job, from, _heads[job][from]);
        }
        Record.verify(stepData, parts);

        newHead = Marker.nextHead(prevHead, stepData);
        _heads[job][step + 1] = newHead;
        j.steps = step + 1;
        j.stateRoot = Record.stateRoot(stepData);
        _setStepWord(job, step, block.timestamp);
        emit StepRecorded(job, step, prevHead, newHead, stepData);
    }

    /// @inheritdoc IPot
    function settle(bytes calldata stepData) external {
        (bytes32 job, uint32 step) = Record.head(stepData);
        Job storage j = _job(job);
        require(step < j.steps, StepNotRecorded(step));
        bytes32 newHead = Marker.nextHead(_heads[job][step], stepData);
        require(newHead == _heads[job][step + 1], RecordNotBound(_heads[job][step + 1], newHead));
        uint256 stepWord = _stepWord(job, step);
        require(stepWord & SETTLED == 0, AlreadySettled(step));
        uint256 until = stepWord + j.challengeWindow;
        require(block.timestamp >= until, ChallengeWindowOpen(until));

        uint256 paid = uint256(j.potPerStep) + j.operatorFee;
        _setStepWord(job, step, stepWord | SETTLED);
        j.escrow -= paid;
        uint256 dust = j.potPerStep - _creditMiners(j, stepData, step);
        _credits[j.token][j.operator] += j.operatorFee;
        if (dust != 0) _credits[j.token][j.owner] += dust;
        emit StepSettled(job, step, paid);
    }

    /* CREDITS */

    /// @inheritdoc IPot
    function withdraw(address token, address to) external nonReentrant {
        require(to != address(0), NoRecipient());
        uint256 amount = _credits[token][msg.sender];
        require(amount != 0, NoCredit());
        _credits[token][msg.sender] = 0;
        emit Withdrawn(msg.sender, token, to, amount);

        if (token == address(0)) {
            (bool ok,) = to.call{value: amount}("");
            require(ok, TransferFailed());
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
    }

    /* VIEWS */

    /// @inheritdoc IPot
    function jobId(JobParams calldata params) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), params));
    }

    /// @inheritdoc IPot
    function jobs(bytes32 job) external view returns (Job memory) {
        return _jobs[job];
    }

    /// @inheritdoc IPot
    function steps(bytes32 job) external view returns (uint32) {
        return _jobs[job].steps;
    }

    /// @inheritdoc IPot
    function heads(bytes32 job, uint32 step) external view returns (bytes32) {
        return _heads[job][step];
    }

    /// @inheritdoc IPot
    function stateRoot(bytes32 job) external view returns (bytes32) {
        return _jobs[job].stateRoot;
    }

    /// @inheritdoc IPot
    function stepInfo(bytes32 job, uint32 step) external view returns (uint64 recordedAt, bool settled) {
        uint256 stepWord = _stepWord(job, step);
        // A step's word has 64 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        return (uint64(stepWord & ~SETTLED), stepWord & SETTLED != 0);
    }

    /// @inheritdoc IPot
    function proofCount(bytes32 job) external view returns (uint256) {
        Job storage j = _jobs[job];
        if (j.steps == 0) return 0;
        // Both populations are whole shares, so that those of a step are on a line of their own.
        uint256 candidates = j.candidatesPerShare;
        return Schedule.sumOnLine(j.populationStart / candidates, j.population / candidates, j.stepLimit, j.steps);
    }

    /// @inheritdoc IPot
    function credits(address token, address account) external view returns (uint256) {
        return _credits[token][account];
    }

    /// @inheritdoc IPot
    function escrow(bytes32 job) external view returns (uint256) {
        return _jobs[job].escrow;
    }

    /* INTERNAL */

    /// @dev The job, which must exist.
    function _job(bytes32 job) private view returns (Job storage j) {
        j = _jobs[job];
        require(j.owner != address(0), UnknownJob(job));
    }

    function _checkParams(JobParams calldata params) private view {
        require(params.owner == msg.sender, NotOwner(params.owner, msg.sender));
        _checkPopulation(params.populationStart, params.population, params.candidatesPerShare);
        require(params.batchSize >= 1 && params.batchSize <= MAX_BATCH_SIZE, BadBatchSize(params.batchSize));
        require(params.trainCount != 0, NoTrainingSamples());
        require(params.stepLimit != 0, NoSteps());
        require(params.validateEvery != 0, BadValidateEvery());
        require(!params.refutable, RefutableNotSupported());
        require(params.bond == 0 && params.demandBond == 0, BondNotSupported());
    }

    function _checkPopulation(uint256 start, uint256 end, uint256 candidates) private pure {
        require(candidates >= 1 && candidates <= MAX_CANDIDATES_PER_SHARE, BadCandidatesPerShare(candidates));
        require(end >= 1 && end <= MAX_POPULATION && end % candidates == 0, BadPopulation(end));
        require(start >= 1 && start <= end && start % candidates == 0, BadPopulationStart(start));
        uint256 allowed = end > MANY_CANDIDATES ? MAX_SHARES_OF_MANY : MAX_SHARES;
        require(end / candidates <= allowed, TooManyShares(end / candidates, allowed));
    }

    /// @dev Takes exactly `amount` from the sender.
    function _pull(address token, uint256 amount) private {
        uint256 value = token == address(0) ? amount : 0;
        require(msg.value == value, WrongValue(value, msg.value));
        if (token == address(0) || amount == 0) return;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        require(received == amount, WrongTokenAmount(amount, received));
    }

    function _rules(Job storage j, uint256 step, bool bound) private view returns (Record.Rules memory) {
        uint256 candidates = j.candidatesPerShare;
        return Record.Rules({
            step: step,
            shares: Schedule.onLine(j.populationStart, j.population, j.stepLimit, step) / candidates,
            candidates: candidates,
            minBits: j.minBits,
            window: j.window,
            validation: step % j.validateEvery == 0 || step + 1 == j.stepLimit,
            bound: bound
        });
    }

    /// @dev Splits the step's pot over its miner rows; returns what they got together.
    function _creditMiners(Job storage j, bytes calldata stepData, uint256 step) private returns (uint256 credited) {
        Record.Parts memory parts = Record.parse(stepData, _rules(j, step, true));
        uint256[] memory weights = Record.entriesOf(stepData, parts);
        uint256 total;
        for (uint256 i; i < weights.length; ++i) {
            weights[i] *= 2 ** Record.bits(stepData, parts.miners[i]);
            total += weights[i];
        }
        uint256 pot = j.potPerStep;
        mapping(address account => uint256) storage accounts = _credits[j.token];
        for (uint256 i; i < weights.length; ++i) {
            uint256 part = pot * weights[i] / total;
            accounts[Record.payee(stepData, parts.miners[i])] += part;
            credited += part;
        }
    }

    /// @dev Block time of the step's record and the flag SETTLED; zero if it isn't recorded.
    function _stepWord(bytes32 job, uint256 step) private view returns (uint256) {
        uint256 shift = step % STEPS_PER_SLOT * STEP_BITS;
        return _steps[job][step / STEPS_PER_SLOT] >> shift & STEP_MASK;
    }

    function _setStepWord(bytes32 job, uint256 step, uint256 stepWord) private {
        uint256 shift = step % STEPS_PER_SLOT * STEP_BITS;
        uint256 slot = _steps[job][step / STEPS_PER_SLOT];
        _steps[job][step / STEPS_PER_SLOT] = slot & ~(STEP_MASK << shift) | stepWord << shift;
    }
}
