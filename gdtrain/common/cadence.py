"""When something happens, counted in steps."""


def next_multiple(step: int, every_steps: int) -> int:
    """The first multiple of `every_steps` after `step`.

    Example:

    >>> next_multiple(19, 20), next_multiple(20, 20)
    (20, 40)
    """
    return (step // every_steps + 1) * every_steps


def next_of_1_2_5(step: int) -> int:
    """The first of the steps 1, 2, 5, 10, 20, 50, 100, ... after `step`.

    Often while much changes, less often later: 19 of the first million steps.

    Example:

    >>> next_of_1_2_5(0), next_of_1_2_5(5), next_of_1_2_5(699)
    (1, 10, 1000)
    """
    power = 10 ** (len(str(step)) - 1) if step > 0 else 1
    return next(m * power for m in (1, 2, 5, 10) if m * power > step)
