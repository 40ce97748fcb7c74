"""What a bundle of a segmentation task is made of beside MONAI's own parts.

A bundle carries this module, and those that it imports, in its `scripts`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from monai.inferers import Inferer
from monai.transforms import MapTransform
from monai.utils import MetaKeys
from torch import Tensor

from lib.data.grid import network_grid
from lib.data.transforms import prepare_image
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.networks.encoder_decoder import EncoderDecoder
from lib.networks.monai_network import MonaiNetwork
from lib.segmentation.found import mask_and_objects
from lib.segmentation.windows import answer_images
from lib.tasks.image_spec import InputSpec, OutputSpec, TargetSpec
from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.network_spec import EncoderDecoderSpec

_SIZE, _SPACING = "image_size", "image_spacing"  # in the meta data of a prepared image


def network(**spec: Any) -> EncoderDecoder | MonaiNetwork:
    """Return the network for the fields of its spec, lists for tuples."""
    if "monai" in spec:
        return MonaiNetwork(MonaiSpec(**tuples(spec)))
    return EncoderDecoder(EncoderDecoderSpec(**tuples(spec)))


def tuples(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec as JSON holds them, with tuples for lists."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items()}


class PrepareImaged(MapTransform):
    """Make the network's input of images as `LoadImaged` and `EnsureChannelFirstd` return them.

    Those are `(channels, x, y[, z])`, with one channel, or red, green and blue. The input is
    float32 `(channels, *spatial)` in array order, `([z, ]y, x)`; see `prepare_image`.

    Args:
        spec: fields of an `InputSpec`.
    """

    def __init__(self, keys: Any, **spec: Any) -> None:
        super().__init__(keys)
        self.spec = InputSpec(**tuples(spec))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare the images under the keys."""
        done = dict(data)
        for key in self.key_iterator(done):
            loaded = done[key]
            # MONAI counts the colours of a picture as an axis of its grid
            affine = torch.as_tensor(to_affine_nd(3, loaded.affine))
            spacing = affine_to_spacing(affine, loaded.ndim - 1).tolist()
            image = _image(np.asarray(loaded), tuple(spacing))
            done[key] = MetaTensor(
                prepare_image(image, self.spec),
                affine=affine,
                meta={
                    **loaded.meta,
                    MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # answers have no colours
                    _SIZE: torch.tensor(image.shape),
                    _SPACING: torch.tensor(spacing, dtype=torch.float64),
                },
            )
        return done


class OnImageGridd(MapTransform):
    """Bring answers `(maps, *spatial)` back to the grid of the file, `(maps, x, y[, z])`.

    Args:
        image_key: of the prepared image.
        spec: fields of an `InputSpec`, those of `PrepareImaged`.
    """

    def __init__(self, keys: Any, image_key: str = "image", **spec: Any) -> None:
        super().__init__(keys)
        self.image_key, self.spec = image_key, InputSpec(**tuples(spec))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the answers under the keys back."""
        done = dict(data)
        meta = done[self.image_key].meta
        shape = tuple(int(side) for side in meta[_SIZE])
        grid = network_grid(_blank(shape, tuple(meta[_SPACING].tolist())), self.spec)
        for key in self.key_iterator(done):
            maps = grid.undo(np.asarray(done[key].detach().cpu(), np.float32))
            done[key] = MetaTensor(_reversed(maps), meta=dict(meta))
        return done


class MaskAndObjectsd(MapTransform):
    """Add mask and objects, `(1, x, y[, z])`, that follow from maps `(maps, x, y[, z])`.

    Args:
        keys: of the maps.
        labels: value of each structure by its name.
        target, output: fields of a `TargetSpec` and an `OutputSpec`.
        mask_key, objects_key: of what is added; objects only where the task separates them.
    """

    def __init__(
        self,
        keys: Any,
        labels: Mapping[str, int],
        target: Mapping[str, Any],
        output: Mapping[str, Any],
        mask_key: str = "mask",
        objects_key: str = "objects",
    ) -> None:
        super().__init__(keys)
        self.labels = dict(labels)
        self.target, self.output = TargetSpec(**tuples(target)), OutputSpec(**tuples(output))
        self.mask_key, self.objects_key = mask_key, objects_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add mask and objects of the maps under the keys."""
        done = dict(data)
        for key in self.key_iterator(done):
            maps = _reversed(np.asarray(done[key]))
            found = mask_and_objects(maps, self.labels, self.target, self.output)
            for name, values in zip((self.mask_key, self.objects_key), found, strict=True):
                if values is not None:
                    done[name] = MetaTensor(_reversed(values[np.newaxis]), meta=done[key].meta)
        return done


class WindowInferer(Inferer):
    """Answers probabilities: an image is padded to fit the network; a large one runs in tiles.

    A 2D network answers volumes `(N, channels, slices, rows, columns)` slice by slice.

    Args:
        spec: of the network, see `EncoderDecoder.spec`.
    """

    def __init__(self, spec: EncoderDecoderSpec | MonaiSpec) -> None:
        super().__init__()
        self.spec = spec

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return probabilities `(N, maps, *spatial)` of `inputs` `(N, channels, *spatial)`."""
        images = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs

        def logits(window: Tensor) -> Tensor:
            return network(window, *args, **kwargs).float()

        if images.ndim - 2 == self.spec.spatial_dims:
            return answer_images(images, self.spec, logits)
        slices = [answer_images(plane, self.spec, logits) for plane in images.unbind(2)]
        return torch.stack(slices, 2)


def _reversed(values: np.ndarray) -> np.ndarray:
    """Return `(channels, *spatial)` with the spatial axes in reverse order."""
    return np.ascontiguousarray(values.transpose(0, *range(values.ndim - 1, 0, -1)))


def _image(loaded: np.ndarray, spacing: tuple[float, ...]) -> Image:
    """Return the image of `(channels, x, y[, z])`, one channel or red, green, blue[, alpha]."""
    values = _reversed(loaded)
    if len(values) not in (1, 3, 4):
        raise InputError(f"an image of {len(values)} channels, expected one, or red, green, blue")
    colour = len(values) > 1
    pixels = np.moveaxis(values[:3], 0, -1) if colour else values[0]
    return replace(_blank(values.shape[1:], spacing), pixels=pixels, colour=colour)


def _blank(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Image:
    pixels = np.broadcast_to(np.zeros(1, np.float32), shape)
    return Image(pixels, Geometry.flat(*shape), Path("image"), physical_spacing=spacing)
