"""Starts the kernel that executes a page, in the interpreter of the build.

Version 2.21 of TensorFlow logs lines as it is imported. They end here, before
the kernel starts to collect what a page prints.
"""

from ipykernel import kernelapp

import examples._quiet  # noqa: F401

kernelapp.launch_new_instance()
