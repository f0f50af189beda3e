"""`python -m gdtrain COMMAND`: what can be asked of a training. Floor 6."""

import argparse
import json

from gdtrain.insight.diagnose import diagnose


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: A list of strings; defaults to those of the program.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gdtrain",
        description="Gradient descent you can see and steer.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "diagnose",
        help="tell what a training did, and what to try",
        description="Tells what a training did, and what to try.",
    )
    command.add_argument(
        "log_dir",
        metavar="LOGDIR",
        help="log folder of gdtrain.callbacks.TensorBoard, or a file that "
        "Telemetry.save wrote",
    )
    command.add_argument(
        "--json", action="store_true", help="print all of it as JSON"
    )
    options = parser.parse_args(arguments)
    try:
        found = diagnose(options.log_dir)
    except (OSError, ValueError) as error:
        command.error(str(error))
    print(json.dumps(found.as_dict(), indent=1) if options.json else found)


if __name__ == "__main__":
    main()
