"""Where numbers go. Writers know nothing of gradients. Floor 1.

A writer has `write(steps, names, values)` with int64 `[n]`, m names and
float32 `[n, m]`; `flush()`, after which all of it can be read; and `close()`.
"""
