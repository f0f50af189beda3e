"""Names of verdicts, as a diagnosis gives them."""

DECAYED = "learning rate decayed too early"
INPUTS, TARGETS = "inputs not scaled", "targets not scaled"
ORDER = "data not shuffled"
OUTPUT = "output and loss do not fit"
DECAY = "weight decay too strong"
LABELS = "label noise"
NOTHING_MOVES = "nothing moves"
DEAD, VANISHING = "dead layer", "vanishing gradients"
EXPLODING, NONFINITE = "exploding gradients", "non-finite"
NOT_LEARNING, OVERFITTING = "not learning", "overfitting"
PLATEAU = "plateau"
TOO_SMALL = "learning rate too small"
DIVERGING = "learning rate too large: diverging"
OSCILLATING = "learning rate too large: oscillating"
HEALTHY = frozenset(
    ["noise floor", "converged", "converging", "nothing to report"]
)
