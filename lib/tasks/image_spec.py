"""How images become inputs, labels targets, and answers masks. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lib.errors import choose
from lib.tasks.spec_fields import LATER

GREYS = ("normalised", "original")
COLOURS = ("red", "green", "blue")
STRUCTURE = "label_"
PRESENCE = "presence"
FINEST, COARSEST = 0.02, 50.0  # millimetres
_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}  # of a patient, by their ends


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How an image file becomes the network's input; the same for training and serving.

    Colour images become luminance (Rec. 601), but for `channels`.

    Attributes:
        percentiles: the intensities at these percentiles become 0 and 1.
        dark_background: invert images whose median lies in the upper half of their range, and all
            stained sections in colour, so that they look like fluorescence.
        longest_side: pixels that the longer of rows and columns is resampled to, up or down; 0
            keeps the size. The answer has the image's own size all the same.
        isotropic: resample volumes whose spacing differs between axes to one spacing: that of the
            coarsest axis, but at most 1.5 times the geometric mean.
        min_side: fewest rows and columns accepted.
        max_pixels: most pixels accepted (8192 x 8192 by default).
        size: for mammograms: rows and columns that the breast is resampled to; one number for a
            square. 0 for other tasks.
        channels: what the network sees. Of mammograms greys: ``normalised`` (within the breast) and
            ``original`` (of the image), which says more on films. Of other images their luminance
            (``normalised``), or ``red``, ``green`` and ``blue``: the colours of stained sections,
            each with percentiles of its own, and three times the luminance of all other images.
        window: the two intensities that become 0 and 1, such as Hounsfield units, in place of
            percentiles; empty for these.
        spacing: millimetres along x, y[, z], the axes as `orientation` orders them, to which
            volumes are resampled; 0 keeps that of an axis, empty keeps all.
        orientation: where the axes x, y, z of a volume are to point, as in ``RAS`` (right,
            anterior, superior); empty keeps them as they are stored.
        object_sizes: least and greatest diameter of the objects of an image, in pixels, that the
            network answers as they are (`lib.data.targets.typical_diameter`). Images of smaller or
            larger objects are resampled so that it becomes the geometric mean of both
            (`lib.data.grid.magnification`). Empty keeps all; images of two axes only.
    """

    percentiles: tuple[float, float] = (0.5, 99.8)
    dark_background: bool = True
    longest_side: int = 0
    isotropic: bool = False
    min_side: int = 8
    max_pixels: int = 8192 * 8192
    size: int | tuple[int, int] = field(default=0, metadata=LATER)
    channels: tuple[str, ...] = field(default=("normalised",), metadata=LATER)
    window: tuple[float, ...] = field(default=(), metadata=LATER)
    spacing: tuple[float, ...] = field(default=(), metadata=LATER)
    orientation: str = field(default="", metadata=LATER)
    object_sizes: tuple[float, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        """Check the names of the channels, and the scale and grid."""
        for name in self.channels or ("none",):
            choose("input channel", name, dict.fromkeys((*GREYS, *COLOURS)))
        if self.window and not (len(self.window) == 2 and self.window[0] < self.window[1]):
            raise ValueError(
                f"window must be two rising intensities, or empty, found {self.window}"
            )
        if self.object_sizes and not (
            len(self.object_sizes) == 2 and 1 <= self.object_sizes[0] < self.object_sizes[1]
        ):
            raise ValueError(
                f"object_sizes must be two rising diameters of at least 1 pixel, or empty, found "
                f"{self.object_sizes}"
            )
        possible = [one == 0 or FINEST <= one <= COARSEST for one in self.spacing]
        if self.spacing and possible != [True] * 3:
            raise ValueError(
                f"spacing must be three of {FINEST} to {COARSEST} millimetres, or 0, along x, y "
                f"and z, found {self.spacing}"
            )
        axes = sorted(_AXES.get(code, 3) for code in self.orientation)
        if self.orientation and axes != [0, 1, 2]:
            raise ValueError(
                f"orientation must name an end of each axis, as RAS or LPS, found "
                f"'{self.orientation}'"
            )

    @property
    def coloured(self) -> bool:
        """Whether the network sees the colours of stained sections."""
        return self.channels == COLOURS

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a prepared mammogram."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class TargetSpec:
    """How an accepted label image becomes the training target.

    Attributes:
        maps: the maps that the network answers, in order, then those that only weight the loss;
            names of `lib.data.targets.MAPS`, and for tasks with several structures ``label_2`` for
            the pixels of that value. The first is always ``foreground``.
        gap: pixels cleared between touching instances, so that they come apart (the thesis's
            eroded borders); 0 keeps the labels as drawn. Instances narrower than the gap are kept.
    """

    maps: tuple[str, ...] = ("foreground",)
    gap: int = 0

    @property
    def answered(self) -> tuple[str, ...]:
        """The maps that the network answers with; the others weight the loss."""
        return tuple(name for name in self.maps if not name.endswith("_weight"))

    @property
    def structures(self) -> dict[str, int]:
        """The maps of single structures, and their values in label images."""
        return {
            name: int(name.removeprefix(STRUCTURE))
            for name in self.maps
            if name.startswith(STRUCTURE)
        }


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Random changes of a training patch, each with its own probability or range.

    Attributes:
        flips: mirror each axis with probability 0.5.
        flip_depth: whether rows are mirrored too; not where they are depth below a transducer, as
            shadows lie below what casts them.
        flip_alike: whether axes along which the training images look another way when they are
            mirrored are left out, see `lib.data.mirrored.unlike_axes`; for volumes, in which depth
            may be any axis.
        never_flipped: axes that are not mirrored, counted from the first of the network; with
            `flip_alike` training adds those it finds.
        rotate90: turn by a random multiple of 90 degrees (in the plane of the last two axes).
        rotate: largest turn by any angle, in degrees, either way (in the same plane).
        zoom: smallest and largest magnification, drawn log-uniformly; (1, 1) is off.
        elastic: standard deviation in pixels of the displacements of a coarse grid of four points
            along each axis, smoothly interpolated between (U-Net 2015, section 3.1); 0 is off.
        dilate: probability of a grey dilation of image and target by one pixel.
        blur: largest standard deviation in pixels of a Gaussian blur; 0 is off.
        gamma: largest exponent (and, inverted, smallest) applied to intensities; 1 is off.
        stain: largest exponent (and, inverted, smallest) applied to each input channel by itself,
            after `gamma`: stains of other strengths; 1 is off.
        noise: largest standard deviation of added Gaussian noise, in units of the 0..1 range.
        contrast: how far a random rising curve of greys may leave the straight line, 0..1: the S
            or its inverse that it is, and its ends that are drawn in; 0 is off.
    """

    flips: bool = True
    flip_depth: bool = True
    rotate90: bool = False
    rotate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    dilate: float = 0.0
    blur: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0
    contrast: float = field(default=0.0, metadata=LATER)
    stain: float = field(default=1.0, metadata=LATER)
    flip_alike: bool = field(default=False, metadata=LATER)
    never_flipped: tuple[int, ...] = field(default=(), metadata=LATER)

    def flipped_axes(self, axes: int) -> tuple[int, ...]:
        """Return which of a network's `axes` may be mirrored, counted from the first."""
        kept = {*self.never_flipped, *(() if self.flip_depth else (axes - 2,))}
        return tuple(axis for axis in range(axes) if self.flips and axis not in kept)


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """How probabilities become a mask and an instance map.

    Attributes:
        threshold: probability from which a pixel is foreground.
        presence_threshold: answered presence from which there is any foreground at all, where the
            task answers that map; 0 is off.
        blur: standard deviation in pixels of a Gaussian over the probabilities before they are
            thresholded, for smooth outlines; 0 is off.
        keep: ``all`` objects, or the ``largest`` of each structure only.
        instances: separate touching objects and number them.
        separation: how: ``shape`` (watershed of the mask's distance transform), ``distance``
            (watershed of the answered distance map) or ``components`` (what is connected).
        smoothing: standard deviation in pixels of the Gaussian that smooths the distances before
            their maxima become watershed seeds.
        depth: height a maximum must rise above the saddle to its neighbour to be a seed of its
            own: pixels for ``shape``, 0..1 for ``distance``.
        seed_threshold: for ``distance``, least answered distance (0..1) of a seed.
        gap: pixels by which objects grow back where the target's borders were eroded.
        min_area: objects with fewer pixels are dropped from mask and instances.
        shape: ``ellipse`` where each structure is one: its circumference is measured, and the
            largest object of a 2D mask is filled up to its ellipse.
    """

    threshold: float = 0.5
    presence_threshold: float = 0.0
    blur: float = 0.0
    keep: Literal["all", "largest"] = "all"
    instances: bool = False
    separation: Literal["shape", "distance", "components"] = "shape"
    smoothing: float = 1.0
    depth: float = 0.75
    seed_threshold: float = 0.3
    gap: int = 0
    min_area: int = 0
    shape: Literal["any", "ellipse"] = field(default="any", metadata=LATER)
