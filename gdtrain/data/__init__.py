"""Where batches come from, and in which order.

A feed has, in Python: `steps_per_epoch` (`None` if unknown), which may change
with `begin_epoch(epoch, step)`; `most_steps` of a block; `batch_spec`;
`has_batch(epoch, step)`; `source(epoch, step, steps, room)`, which a program
makes its batches from; `rewind()`, `end_epoch(steps, ran_out)`, and a `plan`.
To go on with a run: `fingerprint()`, a dict that tells other data;
`position()`, a dict that says where it is between two blocks; and
`go_to(epoch, step, position)`, which goes there, in another process too. And
`batch(epoch, step)`, a batch once more with the indices of its examples, or
`None`.

A plan is what programs depend on, without the data, so that one program serves
all feeds whose plans have the same `key`. Its methods are traced: `open` once
for a block, `first`, `has_batch`, `fetch` and `advance` for each step, and
`take` on each replica, which makes the batch of what was fetched. Where
`epochs_can_follow`, it also says where epochs start and end.
"""
