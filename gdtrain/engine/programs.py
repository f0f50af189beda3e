"""Programs that were made, by what they serve."""


class Programs:
    """Makes a program for each kind of plan.

    A feed of one batch of everything has a program for its very size. A
    second such feed, of another size, has one made for any size: models that
    are given a few more examples each time are not traced each time.
    """

    def __init__(self):
        self._made = {}
        self._families = set()

    def __iter__(self):
        """Those that were made."""
        return iter(self._made.values())

    def of(self, plan, circumstances, make):
        """The program that serves a plan.

        Args:
            plan: The plan of the feed; see `gdtrain.feeds`.
            circumstances: What else a program depends on, a tuple.
            make: Makes a program for a feed like this.
        """
        family = plan.family, *circumstances
        if (plan.key, *circumstances) not in self._made:
            if family in self._families:
                plan.take_any_size()
            self._families.add(family)
        key = plan.key, *circumstances
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
