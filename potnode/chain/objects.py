"""Blocks, transactions, receipts and logs of the embedded chain as JSON-RPC objects.

Field names and forms are those of the Ethereum JSON-RPC specification. Only formatting happens
here.
"""

from __future__ import annotations

from typing import Any

import rlp
from eth._utils.address import generate_contract_address
from eth.abc import BlockAPI, BlockHeaderAPI, SignedTransactionAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.berlin.transactions import TypedTransaction

from potnode.chain.embedded import Mined, base_fee
from potnode.chain.hexes import data, quantity
from potnode.chain.logindex import LogEntry

Json = dict[str, Any]


def block_object(block: BlockAPI, full_transactions: bool) -> Json:
    """The block, with its transactions' hashes or the whole objects."""
    transactions: list[Any]
    if full_transactions:
        transactions = [
            transaction_object(tx, index, block.header)
            for index, tx in enumerate(block.transactions)
        ]
    else:
        transactions = [data(tx.hash) for tx in block.transactions]
    # Typed loosely: py-evm's header interface has the fields of all forks as optional.
    header: Any = block.header
    return {
        "number": quantity(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": data(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "totalDifficulty": quantity(0),
        "extraData": data(header.extra_data),
        "mixHash": data(header.mix_hash),
        "size": quantity(len(rlp.encode(block))),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "baseFeePerGas": quantity(base_fee(header)),
        "transactions": transactions,
        "uncles": [],
        "withdrawals": [],
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
    }


def transaction_object(
    transaction: SignedTransactionAPI, index: int, header: BlockHeaderAPI
) -> Json:
    """A mined transaction, `index` in the block of `header`."""
    found: Json = {
        "blockHash": data(header.hash),
        "blockNumber": quantity(header.block_number),
        "transactionIndex": quantity(index),
        "hash": data(transaction.hash),
        "type": quantity(_type_of(transaction)),
        "nonce": quantity(transaction.nonce),
        "from": data(transaction.sender),
        "to": _address_or_null(transaction.to),
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas),
        "gasPrice": quantity(effective_gas_price(transaction, header)),
        "input": data(transaction.data),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }
    kind = _type_of(transaction)
    if kind == 0:
        found["v"] = quantity(transaction.v)  # type: ignore[attr-defined]
        if transaction.chain_id is not None:
            found["chainId"] = quantity(transaction.chain_id)
        return found
    found["v"] = found["yParity"] = quantity(transaction.y_parity)
    found["chainId"] = quantity(transaction.chain_id or 0)
    found["accessList"] = [
        {"address": data(account), "storageKeys": [data(key.to_bytes(32, "big")) for key in keys]}
        for account, keys in transaction.access_list
    ]
    if kind >= 2:
        found["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        found["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if kind == 4:
        found["authorizationList"] = [
            {
                "chainId": quantity(entry.chain_id),
                "address": data(entry.address),
                "nonce": quantity(entry.nonce),
                "yParity": quantity(entry.y_parity),
                "r": quantity(entry.r),
                "s": quantity(entry.s),
            }
            for entry in transaction.authorization_list
        ]
    return found


def receipt_object(mined: Mined) -> Json:
    """The receipt of a mined transaction."""
    transaction, receipt, header = (
        mined.transaction,
        mined.receipts[mined.index],
        mined.block.header,
    )
    before = mined.receipts[mined.index - 1].gas_used if mined.index else 0
    first_log = sum(len(earlier.logs) for earlier in mined.receipts[: mined.index])
    created = None
    if transaction.to == CREATE_CONTRACT_ADDRESS:
        created = data(generate_contract_address(transaction.sender, transaction.nonce))
    logs = [
        LogEntry(
            block=header.block_number,
            position=first_log + position,
            transaction_index=mined.index,
            block_hash=header.hash,
            transaction_hash=transaction.hash,
            address=log.address,
            topics=tuple(topic.to_bytes(32, "big") for topic in log.topics),
            data=log.data,
        )
        for position, log in enumerate(receipt.logs)
    ]
    return {
        "blockHash": data(header.hash),
        "blockNumber": quantity(header.block_number),
        "transactionHash": data(transaction.hash),
        "transactionIndex": quantity(mined.index),
        "type": quantity(_type_of(transaction)),
        "from": data(transaction.sender),
        "to": _address_or_null(transaction.to),
        "contractAddress": created,
        "gasUsed": quantity(receipt.gas_used - before),
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(effective_gas_price(transaction, header)),
        "status": quantity(int.from_bytes(receipt.state_root, "big")),
        "logsBloom": data(receipt.bloom.to_bytes(256, "big")),
        "logs": [log_object(entry) for entry in logs],
    }


def log_object(entry: LogEntry) -> Json:
    """One event."""
    return {
        "address": data(entry.address),
        "topics": [data(topic) for topic in entry.topics],
        "data": data(entry.data),
        "blockNumber": quantity(entry.block),
        "blockHash": data(entry.block_hash),
        "transactionHash": data(entry.transaction_hash),
        "transactionIndex": quantity(entry.transaction_index),
        "logIndex": quantity(entry.position),
        "removed": False,
    }


def effective_gas_price(transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> int:
    """Wei per gas the sender paid. A legacy transaction has both maxima equal to its price."""
    return min(
        transaction.max_fee_per_gas,
        transaction.max_priority_fee_per_gas + base_fee(header),
    )


def _type_of(transaction: SignedTransactionAPI) -> int:
    return int(transaction.type_id or 0) if isinstance(transaction, TypedTransaction) else 0


def _address_or_null(address: bytes) -> str | None:
    return data(address) if address else None
