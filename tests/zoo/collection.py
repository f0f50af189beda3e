"""All specimens, by the function that makes them."""

from tests.zoo import faults, healthy, rates

FAULTS = [
    rates.diverging,
    rates.oscillating,
    rates.too_small,
    rates.standing_still,
    faults.nothing_to_learn,
    faults.constant_output,
    faults.vanishing,
    faults.exploding,
    faults.dead,
    faults.nonfinite,
    faults.overfitting,
    faults.plateau,
]
HEALTHY = [
    healthy.converged,
    healthy.converging,
    healthy.noise_floor,
    healthy.short,
    healthy.generalizing,
]
