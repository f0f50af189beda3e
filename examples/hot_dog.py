"""Hot dog, or not hot dog? Learns it from a folder of photos.

    python examples/hot_dog.py FOLDER                a folder for each class
    python examples/hot_dog.py FOLDER PHOTO PHOTO    and says what these show

The folders `hot_dog` and `not_hot_dog` in FOLDER, with some 100 photos each,
are enough; so are other classes. A network that knows photos in general (its
weights are downloaded once) is fine-tuned on them in a minute. A fifth of the
photos is held out, and says how often the answers are right.
"""

import argparse
import pathlib

import _quiet  # noqa: F401

from gdtrain import images


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="has a folder for each class")
    add("photos", metavar="PHOTO", nargs="*", help="to describe")
    add("--backbone", default="MobileNetV3Large", help="of keras.applications")
    add("--weights", default="imagenet", help="a file, if not downloaded")
    add("--size", type=int, default=224, help="of photos, in pixels")
    add("--output", default="output/hot_dog", help="a folder")
    options = parser.parse_args(argv)
    output = pathlib.Path(options.output)
    try:
        photos = images.read_folder(options.folder, size=options.size)
        print(photos)
        model = images.fine_tune(
            photos,
            options.backbone,
            weights=options.weights,
            log_dir=output / "logs",  # Gets a page about it, too
        )
        model.save(output / "model.keras")
        print(model.fine_tuning.report)
        print(f"Also look at tensorboard --logdir {output}/logs")
        asked = options.photos or [f.path for f in photos.held_out.files[:5]]
        for photo in asked:
            print(photo, end=": ")
            model.describe(photo)  # Prints `hot dog (0.97)`
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    return model


if __name__ == "__main__":
    main()
