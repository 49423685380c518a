"""One key's transactions on one chain: nonce, gas, fees, signature, and single transactions to
their end.

Responsible for one transaction in the making at a time: whoever takes a nonce holds `lock` until
the transaction is handed over. Steps go through `potnode.chain.recorder`, which remembers across
crashes; what is sent from here (a deployment, a new job, a settlement) can be looked up on the
chain instead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from potnode.chain.contract import artifact, explain_revert
from potnode.chain.errors import CallReverted, ChainUnavailable, RecordRefused
from potnode.chain.keys import Key
from potnode.chain.ports import Chain, Fees, Receipt

GAS_MARGIN = 8
"""An estimate is raised by an eighth: the state may have moved when the transaction is mined."""
POLL_SECONDS = 1.0
WAIT_SECONDS = 300.0
_DYNAMIC_FEE_TYPE = 2


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction, ready to be sent any number of times. The hash has 32 bytes."""

    raw: bytes
    hash: bytes
    nonce: int


class Sender:
    """Signs with `key` for `chain`. Safe to use from several threads.

    gas_limit: for every transaction, instead of estimating; right where a transaction costs nothing
    but the gas it uses (the embedded chain), since an estimate is a second execution.
    """

    def __init__(
        self,
        chain: Chain,
        key: Key,
        *,
        gas_limit: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chain = chain
        self.address = key.address
        self.lock = threading.RLock()
        self._key = key
        self._gas_limit = gas_limit
        self._sleep = sleep
        self._monotonic = monotonic

    def gas_for(self, what: str, to: bytes | None, data: bytes, value: int = 0) -> int:
        """Gas limit to offer. Raises RecordRefused, naming `what`, if it would revert."""
        if self._gas_limit is not None:
            return self._gas_limit
        return self.dry_run(what, to, data, value) * (GAS_MARGIN + 1) // GAS_MARGIN

    def dry_run(self, what: str, to: bytes | None, data: bytes, value: int = 0) -> int:
        """Gas the transaction would need now. Raises RecordRefused, naming `what`, if it would
        revert.
        """
        try:
            return self.chain.estimate_gas(to, data, sender=self.address, value=value)
        except CallReverted as error:
            raise RecordRefused(what, explain_revert(error.revert_data)) from error

    def sign(
        self,
        to: bytes | None,
        data: bytes,
        *,
        gas: int,
        value: int = 0,
        nonce: int | None = None,
        replaces: bytes | None = None,
    ) -> Signed:
        """Sign a transaction to a 20-byte address (None: a contract creation). Nothing is sent.

        `nonce` None takes the next free one. `replaces` is a raw transaction of the same nonce
        whose fees are to be outbid.
        """
        fees = self.chain.fees()
        if replaces is not None:
            fees = _outbid(fees, replaces)
        if nonce is None:
            nonce = self.chain.next_nonce(self.address)
        transaction = {
            "type": _DYNAMIC_FEE_TYPE,
            "chainId": self.chain.chain_id,
            "nonce": nonce,
            "gas": gas,
            "maxFeePerGas": fees.max_fee,
            "maxPriorityFeePerGas": fees.max_priority_fee,
            "value": value,
            "data": data,
        }
        if to is not None:
            transaction["to"] = to
        raw, transaction_hash = self._key.sign_transaction(transaction)
        return Signed(raw, transaction_hash, nonce)

    def execute(self, what: str, to: bytes | None, data: bytes, *, value: int = 0) -> Receipt:
        """Send one transaction and wait until it is in a block.

        Raises RecordRefused, naming `what`, if it reverts; ChainUnavailable if it is in no block
        after WAIT_SECONDS or the node is away (then it may still be mined); TransactionRejected.
        """
        with self.lock:
            signed = self.sign(to, data, gas=self.gas_for(what, to, data, value), value=value)
            self.chain.send_raw_transaction(signed.raw)
        deadline = self._monotonic() + WAIT_SECONDS
        while (receipt := self.chain.receipt(signed.hash)) is None:
            if self._monotonic() >= deadline:
                raise ChainUnavailable(
                    f"the transaction for {what} (0x{signed.hash.hex()}) is in no block after "
                    f"{WAIT_SECONDS:.0f} s: it may still come; look it up before trying again"
                )
            self._sleep(POLL_SECONDS)
        if not receipt.succeeded:
            self.dry_run(what, to, data, value)  # says why, if it still would revert
            raise RecordRefused(
                what,
                f"reverted in block {receipt.block_number}: out of gas, or others were first",
            )
        return receipt


def deploy(sender: Sender) -> Receipt:
    """Put the contract of this version on the chain; the receipt has its address and block."""
    receipt = sender.execute("the contract's creation", None, artifact().bytecode)
    if receipt.contract is None:
        raise RecordRefused("the contract's creation", "the node names no address for it")
    return receipt


def _outbid(fees: Fees, raw: bytes) -> Fees:
    """At least an eighth above the offer in `raw`: nodes ask for 10 % before they replace one."""
    before = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return Fees(
        max(fees.max_fee, before["maxFeePerGas"] * 9 // 8 + 1),
        max(fees.max_priority_fee, before["maxPriorityFeePerGas"] * 9 // 8 + 1),
    )
