"""A zoo of trainings: faults that were planted, and healthy ones beside."""
