// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @notice The terms of a job. They never change; `job_id` is a hash of them, the chain id and the contract's address.
/// @dev The order and the types of the fields enter the job id: see docs/protocol.md section 1.
struct JobParams {
    /// @notice Pays the escrow, may close a stalled job and gets what rounding leaves. Must create the job itself.
    address owner;
    /// @notice The only account that may record steps.
    address operator;
    /// @notice SHA-256 of the manifest: everything about the job that the contract makes no use of.
    bytes32 manifestHash;
    /// @notice State root before the first step.
    bytes32 initialRoot;
    /// @notice Merkle root of the dataset's canonical file.
    bytes32 dataRoot;
    /// @notice Number of training samples.
    uint32 trainCount;
    /// @notice Number of held-out samples.
    uint32 heldOutCount;
    /// @notice Number of candidates of a step at the end of the job, p1: at most 16,384, a multiple of
    /// `candidatesPerShare`, and of at most 512 shares (256 if there are more than 4096 candidates): it must be possible to
    /// record and to settle a step of as many payees by one transaction each.
    uint16 population;
    /// @notice Number of candidates of step 0, p0: at most `population`, a multiple of `candidatesPerShare` too. Step s has
    /// ((p0 + (p1 - p0) * s / stepLimit) / candidatesPerShare) * candidatesPerShare candidates, divisions rounding down.
    uint16 populationStart;
    /// @notice Candidates drawn from one share, 1 to 64.
    uint8 candidatesPerShare;
    /// @notice Samples in a step's batch.
    uint32 batchSize;
    /// @notice Lowest difficulty of a share, as the `bits` of `target(bits) = (0xffff << 240) >> bits`.
    uint8 minBits;
    /// @notice How many steps a share may be late.
    uint8 window;
    /// @notice Number of steps the job pays for.
    uint32 stepLimit;
    /// @notice Every `validateEvery`th step, from step 0 on, and the last one carry validation figures.
    uint32 validateEvery;
    /// @notice What the miners of one step share.
    uint128 potPerStep;
    /// @notice What the operator gets for one step.
    uint128 operatorFee;
    /// @notice ERC-20 token of the payments, or zero for the chain's native coin.
    address token;
    /// @notice Reserved for refutable jobs; zero in this version.
    uint128 bond;
    /// @notice Seconds between a step's record and the earliest settlement.
    uint64 challengeWindow;
    /// @notice Reserved for refutable jobs.
    uint64 responseWindow;
    /// @notice Reserved for refutable jobs; zero in this version.
    uint128 demandBond;
    /// @notice Seconds without a record after which the owner may close the job.
    uint64 stallTimeout;
    /// @notice Whether recorded numbers can be refuted on chain; false in this version.
    bool refutable;
    /// @notice Tells jobs apart that are otherwise equal.
    bytes32 salt;
}

/// @notice What the contract keeps of a job.
/// @dev Laid out so that recording a step reads two slots and writes two (the first and `stateRoot`).
struct Job {
    /// @notice The only account that may record steps. With it lie the rules a record is checked by.
    address operator;
    uint16 population;
    uint8 minBits;
    uint8 window;
    /// @notice Number of steps recorded so far, which is also the number of the next step.
    uint32 steps;
    uint32 stepLimit;
    /// @notice Who created and paid the job. Zero means that there is no such job.
    address owner;
    uint32 validateEvery;
    /// @notice True once the owner took back the escrow of the steps that were never recorded.
    bool closed;
    uint16 populationStart;
    uint8 candidatesPerShare;
    /// @notice ERC-20 token of the payments, or zero for the native coin.
    address token;
    /// @notice Block time of the job's creation.
    uint64 createdAt;
    uint128 potPerStep;
    uint128 operatorFee;
    uint64 challengeWindow;
    uint64 stallTimeout;
    /// @notice State root after the last recorded step.
    bytes32 stateRoot;
    /// @notice What is held for steps not settled yet, recorded or not.
    uint256 escrow;
}

/// @title IPot
/// @notice Registry of training jobs and of their steps. A step is a set of Bitcoin headers that ASICs hashed, each
/// with the losses of the candidates its hash draws; the contract rebuilds every header, checks its work and to whom it
/// is owed, chains the records, and pays the miners from the job's escrow.
/// @dev The contract has no owner, no administrator, no upgrade path and no oracle. Nothing of a job can be changed by
/// anyone once it is created.
///
/// What is checked on chain: all of a record except the losses, the validation figures and the state root. In this
/// version nothing refutes those: they are for every node to recompute (`potnode audit`), and no contract should act
/// on them as if they were proven.
///
/// What is assumed:
/// - The owner trusts the operator: the escrow is safe only as far as that goes. In this version the operator can pay
///   itself everything, for the work of 2^minBits hashes a share, or by recording one
///   step's shares again in up to window + 1 steps, which this contract doesn't prevent and an audit shows afterwards.
///   Wrong losses are paid all the same. The owner can't dismiss the operator.
/// - Miners trust the operator not to leave out their shares, and so their pay, which no audit can show. It can't
///   invent a share or move one to another miner.
/// - Miners have read the owner's terms: with a `stallTimeout` of 0 the owner can close the job in front of any record,
///   and an endless `challengeWindow` means that no step is ever settled.
/// - The token neither charges on transfer (refused at creation), nor rebases, nor lets anyone move the balance of
///   this contract. A token that does can only cost the accounts that are paid in this token.
/// - Block time is honest to within `challengeWindow` and `stallTimeout`.
/// - `bits` above 119 never happen, since nobody can do 2^119 hashes: from 120 on the product of a pot of up to 2^128 and
///   the weights of up to 512 entries may not fit 256 bits, and `settle` would revert. Up to 119 it always fits.
interface IPot {
    /* EVENTS */

    /// @notice A job was created and its escrow paid in.
    event JobCreated(bytes32 indexed job, address indexed owner, JobParams params, bytes manifest);

    /// @notice A step was recorded. `newHead` is keccak256(prevHead | keccak256(stepData)); since each `prevHead` is the
    /// `newHead` before, a reader sees a gap or a reorganisation without asking.
    event StepRecorded(bytes32 indexed job, uint32 indexed step, bytes32 prevHead, bytes32 newHead, bytes stepData);

    /// @notice A step was settled: `paid` left the escrow and became credits (miners, operator, and the owner's dust).
    event StepSettled(bytes32 indexed job, uint32 indexed step, uint256 paid);

    /// @notice `account` withdrew its whole credit in `token` to `to`.
    event Withdrawn(address indexed account, address indexed token, address to, uint256 amount);

    /// @notice The owner closed a stalled job; the escrow of its unrecorded steps became the owner's credit.
    event JobClosed(bytes32 indexed job, uint256 refunded);

    /* ERRORS: JOBS */

    /// @notice There is no such job.
    error UnknownJob(bytes32 job);
    /// @notice A job with these very parameters exists.
    error JobExists(bytes32 job);
    /// @notice `params.owner` must be the sender; likewise only the owner closes a job.
    error NotOwner(address owner, address sender);
    /// @notice SHA-256 of the manifest isn't `params.manifestHash`.
    error WrongManifest(bytes32 expected, bytes32 given);
    /// @notice A share draws 1 to 64 candidates.
    error BadCandidatesPerShare(uint256 given);
    /// @notice The population must be 1 to 16,384 and a multiple of the candidates of a share.
    error BadPopulation(uint256 given);
    /// @notice The population at the start must be 1 to that at the end, and a multiple of the candidates of a share.
    error BadPopulationStart(uint256 given);
    /// @notice A step may have 512 shares, or 256 if they are of more than 4096 candidates.
    error TooManyShares(uint256 shares, uint256 allowed);
    /// @notice The batch size must be 1 to 65,536.
    error BadBatchSize(uint256 given);
    /// @notice The job must have at least one training sample.
    error NoTrainingSamples();
    /// @notice The job must have at least one step.
    error NoSteps();
    /// @notice `validateEvery` must be at least 1.
    error BadValidateEvery();
    /// @notice This version has no refutation and must not promise it.
    error RefutableNotSupported();
    /// @notice Bonds belong to refutation: both must be zero.
    error BondNotSupported();
    /// @notice The value sent isn't the escrow (native coin), or isn't zero (token).
    error WrongValue(uint256 expected, uint256 given);
    /// @notice The token moved another amount than asked for, as tokens do that charge on transfer.
    error WrongTokenAmount(uint256 expected, uint256 received);
    /// @notice The job is closed.
    error JobIsClosed(bytes32 job);
    /// @notice All steps of the job are recorded.
    error JobIsComplete(bytes32 job);
    /// @notice The job can't be closed before block time `until`.
    error NotStalled(uint256 until);

    /* ERRORS: RECORDS */

    /// @notice Only the job's operator records its steps.
    error NotOperator(address operator, address sender);
    /// @notice The record is for another step than the next.
    error WrongStep(uint256 expected, uint256 given);
    /// @notice The record continues another head than the job's.
    error WrongHead(bytes32 expected, bytes32 given);
    /// @notice The record has another format version.
    error UnknownVersion(uint256 given);
    /// @notice The record ends early, at `length`; its parts reach to `needed` at least.
    error Truncated(uint256 needed, uint256 length);
    /// @notice The record goes on after its last field.
    error TrailingBytes(uint256 expected, uint256 length);
    /// @notice The number of miner rows must be 1 to 512.
    error BadMinerCount(uint256 given);
    /// @notice Miner row `row` isn't above the one before.
    error MinersNotAscending(uint256 row);
    /// @notice Miner row `row` has a difficulty below the job's.
    error BitsBelowMinimum(uint256 row);
    /// @notice Miner row `row` has a payout script of more than 252 bytes.
    error ScriptTooLong(uint256 row);
    /// @notice No entry uses miner row `row`.
    error UnusedMiner(uint256 row);
    /// @notice The number of template rows must be 1 to 64.
    error BadTemplateCount(uint256 given);
    /// @notice Template `row` is older than the window or the job.
    error TemplateTooOld(uint256 row);
    /// @notice Template `row` has more than 16 merkle siblings.
    error BranchTooLong(uint256 row);
    /// @notice Template `row` is the same as an earlier one.
    error DuplicateTemplate(uint256 row);
    /// @notice Templates don't stand in the order of their first use, or entry `entry` names one that doesn't exist.
    error TemplateOutOfOrder(uint256 entry);
    /// @notice No entry uses template `row`.
    error UnusedTemplate(uint256 row);
    /// @notice Entry `entry` names a miner row that doesn't exist.
    error MinerOutOfRange(uint256 entry);
    /// @notice Entry `entry`: the template has a place for a payout script and the miner has none, or the reverse.
    error ScriptMismatch(uint256 entry);
    /// @notice Entry `entry`: H isn't above the one before.
    error EntriesNotAscending(uint256 entry);
    /// @notice Entry `entry`: H is above target(bits).
    error HashAboveTarget(uint256 entry);

    /* ERRORS: COINBASES (offsets within the coinbase as the record has it) */

    /// @notice The coinbase is too short for its form.
    error CoinbaseTooShort(uint256 length);
    /// @notice The coinbase with its payout script is longer than 755 bytes.
    error CoinbaseTooLong(uint256 length);
    /// @notice The coinbase hasn't exactly one input that spends nothing.
    error BadCoinbaseInput();
    /// @notice The length of the scriptSig must be 17 to 100.
    error BadScriptSigLength(uint256 given);
    /// @notice The last 16 bytes of the scriptSig must be zero in the record.
    error ExtranonceNotZero();
    /// @notice The number of outputs must be 1 to 252.
    error BadOutputCount(uint256 given);
    /// @notice The outputs before the last don't end where the last one must begin; `at` is where it showed.
    error BadOutputs(uint256 at);
    /// @notice The last output isn't the marker's.
    error BadMarkerOutput();
    /// @notice The marker must be zero in the record.
    error MarkerNotZero();
    /// @notice `script_at` isn't the place of any output's script, the last output aside.
    error BadScriptPlace(uint256 scriptAt);

    /* ERRORS: PAYMENTS */

    /// @notice The step isn't recorded.
    error StepNotRecorded(uint256 step);
    /// @notice These bytes aren't what was recorded as this step.
    error RecordNotBound(bytes32 expected, bytes32 given);
    /// @notice The step can't be settled before block time `until`.
    error ChallengeWindowOpen(uint256 until);
    /// @notice The step is settled.
    error AlreadySettled(uint256 step);
    /// @notice The sender has no credit in this token.
    error NoCredit();
    /// @notice Credits can't be sent to the zero address.
    error NoRecipient();
    /// @notice The recipient refused the native coin.
    error TransferFailed();

    /* FUNCTIONS */

    /// @notice Creates a job and takes its escrow, `stepLimit * (potPerStep + operatorFee)`, from the sender: as
    /// `msg.value` for the native coin, else by `transferFrom`, which the sender must have approved.
    /// @dev The contract checks `params`; the manifest it only compares with its hash. What the manifest says, and
    /// whether the model stays within the exact arithmetic's bounds, is for whoever operates or mines the job to check.
    /// @param params The terms. `owner` must be the sender.
    /// @param manifest ASCII JSON, as docs/protocol.md section 1 has it; goes into the event.
    /// @return job The job's id.
    function createJob(JobParams calldata params, bytes calldata manifest) external payable returns (bytes32 job);

    /// @notice Records the next step of the job that `stepData` names. Only for the job's operator.
    /// @dev Checks all of docs/protocol.md section "Step record" but the numbers that only recomputation can check
    /// (losses, validation figures, state root).
    /// @param prevHead The head this step continues: `heads(job, step)`. A record that raced with another, or that was
    /// made before a reorganisation, reverts here.
    /// @param stepData The step record.
    /// @return newHead keccak256(prevHead | keccak256(stepData)), which is now `heads(job, step + 1)`.
    function record(bytes32 prevHead, bytes calldata stepData) external returns (bytes32 newHead);

    /// @notice Pays a recorded step, once. Anyone may call it from `challengeWindow` seconds after the record on, also
    /// when the job is closed.
    /// @dev Every miner row gets floor(potPerStep * n * 2^bits / sum of n * 2^bits), n being its number of entries; the
    /// operator gets its fee; the rest, less than one unit per miner row, goes to the owner.
    /// @param stepData The bytes that were recorded.
    function settle(bytes calldata stepData) external;

    /// @notice Sends the sender's whole credit in `token` to `to`.
    /// @param token ERC-20 token, or zero for the native coin.
    /// @param to Who receives it; a contract that refuses the native coin makes the call revert.
    function withdraw(address token, address to) external;

    /// @notice Gives the owner of a stalled job the escrow of the steps that were not recorded, as credit, and ends
    /// the job. It has the power to end a job that stands still for `stallTimeout` seconds, but not to touch what is
    /// held for recorded steps.
    function close(bytes32 job) external;

    /* VIEWS */

    /// @notice What the contract keeps of a job; all zero if there is none.
    function jobs(bytes32 job) external view returns (Job memory);

    /// @notice The id of the job that `params` would create here.
    function jobId(JobParams calldata params) external view returns (bytes32);

    /// @notice Number of recorded steps.
    function steps(bytes32 job) external view returns (uint32);

    /// @notice `heads(job, 0)` comes from the job's id, `heads(job, s + 1)` from the record of step s; zero if there
    /// is none yet.
    function heads(bytes32 job, uint32 step) external view returns (bytes32);

    /// @notice The state root after the last recorded step, the initial one before the first.
    function stateRoot(bytes32 job) external view returns (bytes32);

    /// @notice Block time of a step's record (zero: not recorded), and whether it is paid.
    function stepInfo(bytes32 job, uint32 step) external view returns (uint64 recordedAt, bool settled);

    /// @notice Number of training proofs: one for each share of each recorded step.
    function proofCount(bytes32 job) external view returns (uint256);

    /// @notice What `account` can withdraw in `token` (zero: the native coin).
    function credits(address token, address account) external view returns (uint256);

    /// @notice What is held for the job's unsettled steps.
    function escrow(bytes32 job) external view returns (uint256);
}
