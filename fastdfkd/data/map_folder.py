"""Images and their label maps in two trees of files, in folders or in a zip file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from fastdfkd.core.image_spec import ImageSpec
from fastdfkd.data.decoding import Unreadable, open_image
from fastdfkd.data.file_tree import FileTree
from fastdfkd.data.folder import ENDINGS
from fastdfkd.data.images import Split
from fastdfkd.data.map_trees import Pair, trees_of
from fastdfkd.data.map_values import VOID, MapValues
from fastdfkd.data.records import ClassMap, Found, WrongLabels
from fastdfkd.recipe import DataSection
from fastdfkd.text.shown import reason, shown_name

LOSSLESS = (".png", ".pgm", ".bmp", ".tif", ".tiff", ".gif")
_NAMED = 5


@dataclass(frozen=True, eq=False)
class MappedFiles:
    """Image files, and a file with the label map of each."""

    pair: Pair
    images: tuple[str, ...]
    maps: tuple[str, ...]
    values: MapValues
    stamp: str

    def __len__(self) -> int:
        return len(self.images)

    def name(self, row: int) -> str:
        """The image file's path."""
        return self.images[row]

    def image(self, row: int) -> Image.Image:
        """The image in the file."""
        return open_image(self.pair.images.read(self.images[row]))

    def class_map(self, row: int) -> ClassMap:
        """The map in the file of the same name."""
        path = self.maps[row]
        name = f"{shown_name(path)} of {self.pair.maps.place}"
        try:
            return self.values.classes_of(open_image(self.pair.maps.read(path)), name)
        except WrongLabels:
            raise
        except Exception as error:  # decoders raise anything for a damaged file
            raise Unreadable(f"its label map: {reason(error)}") from error

    def digest(self) -> str:
        """SHA-256 over paths, sizes, times (in a zip: checksums) and what the values mean."""
        return hashlib.sha256(f"{self.stamp} {self.values}".encode()).hexdigest()


def read_maps(section: DataSection, split: Split, spec: ImageSpec) -> Found | None:
    """The images and label maps of a split; None if there is no such split.

    Raises:
        ValueError: there is no image, or too many images have no map. The message says what to do.
    """
    pair = trees_of(section, split, section.images or "images", section.labels or "labels")
    if pair is None:
        return None
    void = VOID if section.void is None else section.void
    values = MapValues(spec.num_classes, void, section.first_label or 0)
    return mapped_files(pair, values, section.broken_share)


def mapped_files(pair: Pair, values: MapValues, broken_share: float) -> Found:
    """The images of a pair of trees that have a label map of the same path, but for the ending.

    Args:
        pair: the trees.
        values: what the values of maps mean.
        broken_share: share of images without a map, or maps without an image, that may be.

    Raises:
        ValueError: there is no image, or more of them than may be have no partner.
    """
    where = f"data ({pair.images.place})"
    files = {"images": pair.images.files(), "maps": pair.maps.files()}
    images = _by_stem(files["images"], ENDINGS, pair.images)
    maps = _by_stem(files["maps"], LOSSLESS, pair.maps)
    if not images:
        raise ValueError(
            f"{where}: expected images ({', '.join(ENDINGS)}), found {len(files['images'])} files "
            "and none of them. Set data.images to the folder of the images within data.root"
        )
    if not maps:
        raise ValueError(
            f"data ({pair.maps.place}): expected label maps ({', '.join(LOSSLESS)}), found "
            f"{len(files['maps'])} files and none of them. JPEG alters the values, so it cannot "
            "hold maps. Set data.labels to the folder of the label maps within data.root"
        )
    stems = sorted(images.keys() & maps.keys())
    notes = _unpaired(images, maps, pair, broken_share)
    paths = tuple(images[stem] for stem in stems), tuple(maps[stem] for stem in stems)
    stamps = [[files[kind][path] for path in each] for kind, each in zip(files, paths, strict=True)]
    stamp = repr((paths, stamps))
    return Found(MappedFiles(pair, *paths, values, stamp), where, notes)


def _by_stem(files: dict[str, str], endings: tuple[str, ...], tree: FileTree) -> dict[str, str]:
    """Paths of image files by their path without ending."""
    found: dict[str, str] = {}
    for path in files:
        if path.lower().endswith(endings):
            stem = str(PurePosixPath(path).with_suffix(""))
            if stem in found:
                raise ValueError(
                    f"data ({tree.place}): {shown_name(found[stem])} and {shown_name(path)} have "
                    "the same name: images and label maps are paired by their names. Remove one"
                )
            found[stem] = path
    return found


def _unpaired(
    images: dict[str, str], maps: dict[str, str], pair: Pair, broken_share: float
) -> tuple[str, ...]:
    """Sentences that name and count files without a partner; raises if there are too many."""
    lone = [
        (images, maps, "images", "label map", pair.images),
        (maps, images, "label maps", "image", pair.maps),
    ]
    notes, count = [], 0
    for own, other, what, partner, tree in lone:
        missing = [own[stem] for stem in sorted(own.keys() - other.keys())]
        count += len(missing)
        if missing:
            named = ", ".join(shown_name(path) for path in missing[:_NAMED])
            more = f", and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
            notes.append(
                f"data ({tree.place}): {len(missing):,} of {len(own):,} {what} have no {partner} "
                f"of the same name and are skipped: {named}{more}"
            )
    if count > broken_share * len(images.keys() | maps.keys()):
        raise ValueError(
            f"{'; '.join(notes)}. At most {broken_share:.2%} may be without a partner: give each "
            "map the name of its image (the ending may differ), or raise data.broken_share"
        )
    return tuple(notes)
