"""Draw batches of augmented cases by tensor operations, on the device for which they are held.

What is random is planned on the host, see `lib.data.draw_plan`, and sent to the device at once.
Nothing here waits for the device. On a CPU the same operations run on one case after the other, as
its caches hold one; on other devices on all cases of a batch together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lib.data.case import HeldCase
from lib.data.draw_plan import BENDS, DrawPlan, Warp, plan_image, plan_patch
from lib.data.ignore import UNKNOWN
from lib.data.shade import dilated, sent, shaded
from lib.data.targets import is_binary
from lib.tasks.image_spec import PRESENCE, AugmentSpec


def draw_patches(
    cases: Sequence[HeldCase],
    size: int | tuple[int, ...],
    spec: AugmentSpec,
    rngs: Sequence[np.random.Generator],
    maps: tuple[str, ...] = ("foreground",),
    foreground_share: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Draw one augmented training patch of each case.

    Images smaller than the patch are mirrored at their borders (the thesis's augmentation). If
    `size` has two sides and an image is a volume or a loop, its patch is drawn in one slice. Of a
    partly labelled image the patch is centred on a labelled pixel.

    Args:
        cases: images `(channels, *spatial)` in 0..1 and targets `(maps, *spatial)`; see
            `lib.data.targets.make_target`.
        size: sides of the patches in pixels, one for all axes or one for each.
        rngs: the random generator of each case.
        maps: names of the target's maps; binary maps stay binary.
        foreground_share: probability that a patch is centred on a foreground pixel.

    Returns:
        Images and targets on the device of the cases, float32, of shape `(N, channels, *size)` and
        `(N, maps, *size)`.
    """
    sides = (size,) * (cases[0].parts[0].ndim - 1) if isinstance(size, int) else size
    plans = [
        plan_patch(case, sides, spec, rng, foreground_share)
        for case, rng in zip(cases, rngs, strict=True)
    ]
    drawn = [_draw_patches(cases[group], plans[group], sides, maps) for group in _groups(cases)]
    images, targets = zip(*drawn, strict=True)
    return _joined(images), _joined(targets)


def draw_images(
    cases: Sequence[HeldCase], spec: AugmentSpec, rngs: Sequence[np.random.Generator]
) -> Tensor:
    """Draw whole mammograms of one size, randomly rotated, magnified and changed in grey.

    Each is rotated about its centre and magnified about the middle of the right edge, where the
    chest wall is. Beyond the edges, the pixels of the edge are repeated. Background stays 0.

    Args:
        cases: images `(channels, rows, columns)` in 0..1, as
            `lib.mammography.breast.network_input` returns them.

    Returns:
        float32 `(N, channels, rows, columns)` on the device of the cases.
    """
    plans = [plan_image(case, spec, rng) for case, rng in zip(cases, rngs, strict=True)]
    return _joined([_draw_images(cases[group], plans[group]) for group in _groups(cases)])


def _groups(cases: Sequence[HeldCase]) -> list[slice]:
    step = 1 if cases[0].device.type == "cpu" else len(cases)
    return [slice(first, first + step) for first in range(0, len(cases), step)]


def _joined(groups: Sequence[Tensor]) -> Tensor:
    return groups[0] if len(groups) == 1 else torch.cat(list(groups))


def _draw_images(cases: Sequence[HeldCase], plans: Sequence[DrawPlan]) -> Tensor:
    parts = [[_cut(case, 0, plan)] for case, plan in zip(cases, plans, strict=True)]
    images = _sampled(parts, plans, plans[0].size, mirror=False)
    return torch.where(images > 0, shaded(images, [plan.shading for plan in plans]), 0)


def _draw_patches(
    cases: Sequence[HeldCase],
    plans: Sequence[DrawPlan],
    sides: tuple[int, ...],
    maps: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    parts = [
        [_cut(case, number, plan) for number in (0, 1)]
        for case, plan in zip(cases, plans, strict=True)
    ]
    channels, device = len(parts[0][0]), cases[0].device
    warped = [row for row, plan in enumerate(plans) if plan.warp is not None]
    unknown = [row for row in warped if cases[row].known is not None]
    known = [[parts[row][1] != UNKNOWN] for row in unknown]
    for row in unknown:
        parts[row][1] = parts[row][1].clamp(min=0)
    drawn = _sampled(parts, plans, sides)
    images, targets = drawn[:, :channels], drawn[:, channels:]
    binary = [is_binary(name) for name in maps]
    if unknown:
        rows = _rows(unknown, device)
        weight = _sampled(known, [plans[row] for row in unknown], sides)
        # linear between what is known, nearest to what is not
        targets[rows] = targets[rows] / weight.clamp(min=0.5)
    for channel in (channel for channel, mask in enumerate(binary) if mask and warped):
        if len(warped) == len(plans):
            targets[:, channel].ge_(0.5)
        else:
            rows = _rows(warped, device)
            targets[rows, channel] = (targets[rows, channel] >= 0.5).float()
    if unknown:
        rows = _rows(unknown, device)
        targets[rows] = targets[rows].masked_fill(weight < 0.5, UNKNOWN)
    for channel, name in enumerate(maps):
        if name == PRESENCE:
            targets[:, channel] = _presence(targets[:, 0])
    if grown := [row for row, plan in enumerate(plans) if plan.dilate]:
        rows = _rows(grown, device)
        images[rows], targets[rows] = dilated(images[rows], targets[rows], binary)
    return shaded(images, [plan.shading for plan in plans]), targets.contiguous()


def _rows(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Return numbers of rows for indexing; a list would be sent while the device is waited for."""
    return sent([np.array(numbers)], device)[0]


def _presence(foreground: Tensor) -> Tensor:
    """Return the presence maps of patches by their foreground maps `(N, *sides)`."""
    unknown = foreground == UNKNOWN
    alone = (slice(None), *(None,) * (foreground.ndim - 1))
    present = (foreground > 0).flatten(1).any(1)[alone].expand_as(unknown)
    doubtful = torch.where(present, unknown, unknown.flatten(1).any(1)[alone])
    return torch.where(doubtful, float(UNKNOWN), present.float())


def _cut(case: HeldCase, number: int, plan: DrawPlan) -> Tensor:
    """Return the part of a case's image or target that a plan needs, on the case's device."""
    part = case.parts[number]
    if plan.frame is not None:
        part = part[:, plan.frame]
    for axis, (start, count) in enumerate(zip(plan.start, plan.size, strict=True), start=1):
        length = part.shape[axis]
        if 0 <= start and start + count <= length:
            part = part.narrow(axis, start, count)
        else:
            part = part.index_select(axis, _mirrored(start, count, length, part.device))
    if part.device != case.device:
        pinned = case.device.type == "cuda"
        staged = torch.empty(part.shape, dtype=part.dtype, pin_memory=pinned)
        part = staged.copy_(part).to(case.device, non_blocking=True)
    return part


def _mirrored(start: int, count: int, length: int, device: torch.device) -> Tensor:
    """Return `count` indices from `start` on; those outside are mirrored at the border pixels."""
    if length == 1:
        return torch.zeros(count, dtype=torch.long, device=device)
    period = 2 * (length - 1)
    index = torch.arange(start, start + count, device=device).abs_().remainder_(period)
    return torch.minimum(index, period - index)


def _sampled(
    parts: Sequence[Sequence[Tensor]],
    plans: Sequence[DrawPlan],
    sides: tuple[int, ...],
    mirror: bool = True,
) -> Tensor:
    """Return the results of plans on parts `(channels, *size)`, float32 `(N, channels, *sides)`.

    The channels of all the parts of a plan follow each other. Values are interpolated linearly.

    Args:
        mirror: whether what lies beyond the borders of a part is mirrored, else the border's pixels
            are repeated.
    """
    channels = sum(len(part) for part in parts[0])
    device = parts[0][0].device
    warped = [row for row, plan in enumerate(plans) if plan.warp is not None]
    result = torch.empty(0)
    if warped:
        sizes = [plans[row].size for row in warped]
        most = tuple(max(lengths) for lengths in zip(*sizes, strict=True))
        alike = all(size == most for size in sizes)
        make = torch.empty if alike else torch.zeros
        source = make((len(warped), channels, *most), device=device)
        for place, row in zip(source, warped, strict=True):
            _fill(place[(slice(None), *(slice(0, side) for side in plans[row].size))], parts[row])
        warps = [plan.warp for plan in plans if plan.warp is not None]
        grid = _grid(warps, sides, device, mirror)
        if not alike:
            grid = _within(grid, sizes, most)
        result = functional.grid_sample(
            source, grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        if len(warped) == len(plans):
            return result
    drawn = torch.empty((len(plans), channels, *sides), device=device)
    if warped:
        drawn.index_copy_(0, _rows(warped, device), result)
    for row, plan in enumerate(plans):
        if plan.warp is None:
            axes = [axis + 1 for axis in plan.flips]
            plane = (len(sides) - 1, len(sides))
            _fill(drawn[row], [part.flip(axes).rot90(plan.turns, plane) for part in parts[row]])
    return drawn


def _fill(place: Tensor, parts: Sequence[Tensor]) -> None:
    """Copy `parts` one after the other into the channels of `place`."""
    first = 0
    for part in parts:
        place[first : first + len(part)].copy_(part)
        first += len(part)


def _grid(
    warps: Sequence[Warp], sides: tuple[int, ...], device: torch.device, mirror: bool
) -> Tensor:
    """Return the places `(N, *sides, axes)` that `grid_sample` takes, last axis first."""
    axes = len(sides)
    matrix = sent([warp.matrix for warp in warps], device)
    lines = [
        _line(side, device).reshape(1, -1, *(1,) * (axes - 1 - axis))
        for axis, side in enumerate(sides)
    ]
    bends = None
    if warps[0].bend is not None:
        bends = sent([warp.bend for warp in warps if warp.bend is not None], device)
        for axis, side in enumerate(sides):
            weights = _bend_weights(side, axes, device)
            bends = (bends.movedim(axis + 2, -1) @ weights.T).movedim(-1, axis + 2)
    grid = torch.empty((len(warps), *sides, axes), device=device)
    for axis in range(axes):
        factors = matrix[:, axis].T.reshape(axes + 1, -1, *(1,) * axes)
        *terms, last = [factor * line for factor, line in zip(factors, lines, strict=False)]
        plane = grid[..., axes - 1 - axis]
        torch.add(sum(terms, start=factors[axes]), last, out=plane)
        if bends is not None:
            plane.add_(bends[:, axis])
    inside = grid.clamp(-1, 1)
    return inside.mul_(2).sub_(grid) if mirror else inside


@lru_cache(maxsize=64)
def _line(side: int, device: torch.device) -> Tensor:
    """Return the places of the pixels along an axis, from -1 to 1; of a single one 0."""
    return torch.linspace(-1, 1, side, device=device) if side > 1 else torch.zeros(1, device=device)


@lru_cache(maxsize=64)
def _bend_weights(side: int, axes: int, device: torch.device) -> Tensor:
    """Return how the points of a coarse grid make the displacements along an axis `(side, 4)`.

    They are interpolated smoothly in 2D and linearly in 3D.
    """
    points = torch.eye(BENDS)[None, None]
    mode = "bicubic" if axes == 2 else "bilinear"
    weights = functional.interpolate(points, (side, BENDS), mode=mode, align_corners=True)
    return weights[0, 0].to(device)


def _within(grid: Tensor, sizes: Sequence[tuple[int, ...]], most: tuple[int, ...]) -> Tensor:
    """Return places in parts of `sizes` as places in the arrays of size `most` they begin."""
    share = [
        [(length - 1) / max(1, longest - 1) for length, longest in zip(size, most, strict=True)]
        for size in sizes
    ]
    factor = sent([np.array(share, np.float32)[:, ::-1]], grid.device)
    factor = factor.reshape(len(sizes), *(1,) * len(most), len(most))
    return (grid + 1).mul_(factor).sub_(1)
