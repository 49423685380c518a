"""The tables that a plan hands to the kernels: what the columns of an operation are, and the codes.

`potnode.engine.plan` fills them, the other modules here read them.
"""

from __future__ import annotations

# Operations, in column CODE.
DENSE, DEPTHWISE, MAX_POOL, AVG_POOL, RELU, ADD, NORM, EMBEDDING, KEEP, MIX = range(10)

# Columns of an operation. "Place" is a position of a window over an image, 1 for anything else;
# X, Y and OUT are byte offsets in the arena of activations; SIGNS are indices in a candidate's row
# of signs; COLUMNS and TERMS are indices in a candidate's own bytes and numbers.
(
    CODE,
    X,  # input; unused where OFFSETS say where the inputs are
    Y,  # second input
    OUT,
    QUADS,  # of one place of the output
    PLACES,
    GROUPS,  # quads that a sum runs over, or taps of a window
    SECOND,  # how many of the groups belong to a second matrix (gates), or 0
    OFFSETS,  # index of the first place's offsets; -1 for none
    ROWS,  # outputs of one place
    WEIGHTS,  # index of the first weight
    PITCH,  # weights from row to row
    STARTS,  # index of the first row's start
    SHIFT,
    LOW,  # lowest activation; LOGITS for the last layer
    ROW_SIGNS,
    COLUMN_SIGNS,
    BIAS_SIGNS,
    ROW_SIGNS_2,
    COLUMN_SIGNS_2,
    SOURCES,  # index of the table column byte -> sign; -1 where they have the same order
    COLUMNS,
    SUMS,  # index of the row that holds -128 * sum of the columns' signs, one a candidate
    TERMS,
    TERMS_2,
    COUNT,  # values of the input (norm), of the window (average)
    TRAINED,  # which of its tensors have signs
) = range(27)
FIELDS = 27

LOGITS = -1000  # in LOW

MATRIX, BIAS, SECOND_MATRIX = 1, 2, 4  # in TRAINED

# What a call needs beside the table.
(
    TASK,
    OUTPUTS,
    WINDOW,  # positions of a sample
    WARMUP,
    TOLERANCE,
    SAMPLES,
    WIDTH,  # signs of a candidate
    COLUMN_WIDTH,  # bytes of a candidate
    TERM_WIDTH,  # numbers of a candidate
    SUM_ROWS,
    ARENA,  # bytes
    INPUT,  # bytes of a tile's input
    ZEROS,  # arena offset of quads that stay zero
    ZERO_BYTES,
    STATES,  # arena offset of what is zero at a sample's first position
    STATE_BYTES,
    TALLEST,  # rows of the largest accumulators
    TABLE,  # bytes of an embedding under a candidate
    SHARED,  # whether the first operation's sums are given
    E,
    PORTABLE,
    HALVES,  # inputs of a sample: 2 of a pair, else 1
) = range(22)
PARAMETERS = 22

CLASSES, BYTES, VALUES, PAIRS, FEATURES = range(5)  # in TASK
