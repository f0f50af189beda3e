"""How one model is trained at several learning rates.

`job` says what is to be done; `at_once` does it with all rates in one program,
`one_by_one` by `fit`; both give a `run.Run` for each rate, from which
`result.Sweep` is made, and which `logs` writes for TensorBoard.
"""
