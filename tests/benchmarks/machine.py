"""What a figure was measured on: versions, device, date."""

import datetime
import importlib.metadata
import os
import pathlib
import platform

PACKAGES = ["tensorflow", "keras", "numpy", "torch", "jax"]


def version(package):
    """The installed version of a package, or `None`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_name():
    """The CPU's model name, from `/proc/cpuinfo` where there is one."""
    file = pathlib.Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [
        line.partition(":")[2].strip()
        for line in lines
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def describe():
    """Versions, device and date, as a dict that JSON can hold."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat("T", "seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "device": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "load_average_at_start": os.getloadavg(),
        },
    }


def summary(description):
    """One line of what `describe` returned."""
    versions = ", ".join(
        f"{package} {number}"
        for package, number in description["versions"].items()
    )
    device = description["device"]
    load = device["load_average_at_start"][0]
    return (
        f"{description['date']}; {device['cpu']}, {device['cores']} cores, "
        f"load {load:.1f} at start; {versions}"
    )
