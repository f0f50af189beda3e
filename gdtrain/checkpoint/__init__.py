"""A state kept in a folder that is there whole or not at all.

A checkpoint is a folder `step-<12 digits>`, or `step-<12 digits>-finished`:

- `state.json` holds the tree of a state: dicts, lists, numbers, strings.
- `arrays.npz` holds its arrays, byte for byte.
- `manifest.json` holds the size and the SHA-256 of each file and, in its first
  line, the SHA-256 of all the lines below.

It is written to `<name>.part`, which is renamed when it is on the disk.
Reading it runs no code that is in it: there is no pickle.
"""
