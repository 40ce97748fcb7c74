// The pixels that a viewport shows: of an image, or of the plane that cuts a volume.

/** The label images of a label map by the image that each lies over. */
const labelsByImage = segmentationId =>
  new Map(labelImages(segmentationId).map(image => [image.referencedImageId, image]));

/**
 * The plane that a viewport shows, as a grid. The middle of its first pixel is at [0, 0].
 *
 * @returns {?{size: number[], spacing: number[], toGrid: function, toCanvas: function,
 *   pixel: function}} columns and rows; mm between their middles; both ways between a place in the
 *   viewport and one in the grid; `pixel(u, v)` is the imageId, and the place in it, of a pixel.
 *   Undefined where the viewport shows no such grid.
 */
function planeIn(viewport) {
  const shown = viewport?.getImageData?.();
  const flat = viewport?.type === 'stack';
  if (!shown?.imageData || !(flat || viewport.type === 'orthographic')) {
    return undefined;
  }
  const { imageData } = shown;
  const sizes = imageData.getDimensions();
  const spacings = imageData.getSpacing();
  const [across, down, away, level] = flat
    ? [0, 1, 2, () => 0]
    : cutBy(viewport.getCamera(), imageData);
  const imageIds = flat ? [viewport.getCurrentImageId()] : viewport.getImageIds();
  const toIndex = (u, v) => {
    const index = [0, 0, 0];
    [index[across], index[down], index[away]] = [u, v, level(u, v)];
    return index;
  };
  return {
    size: [sizes[across], sizes[down]],
    spacing: [spacings[across], spacings[down]],
    toGrid: position => {
      const index = imageData.worldToIndex(viewport.canvasToWorld(position));
      return [index[across], index[down]];
    },
    toCanvas: ([u, v]) => viewport.worldToCanvas(imageData.indexToWorld(toIndex(u, v))),
    pixel: (u, v) => {
      const index = toIndex(u, v).map(Math.round);
      const imageId = imageIds[index[2]];
      return { imageId, place: index[1] * sizes[0] + index[0], index };
    },
  };
}

/**
 * How a camera's plane cuts a volume.
 *
 * @returns {[number, number, number, function]} the two axes of the volume that run along the plane,
 *   the one that runs through it, and where the plane is on that one, of places on the others
 */
function cutBy({ viewPlaneNormal, focalPoint }, imageData) {
  const origin = imageData.indexToWorld([0, 0, 0]);
  const steps = [0, 1, 2].map(axis => {
    const end = imageData.indexToWorld([0, 1, 2].map(other => Number(other === axis)));
    return dot(viewPlaneNormal, end.map((part, at) => part - origin[at]));
  });
  const lengths = imageData.getSpacing().map((spacing, axis) => Math.abs(steps[axis]) / spacing);
  const away = lengths.indexOf(Math.max(...lengths));
  const [across, down] = [0, 1, 2].filter(axis => axis !== away);
  const start = dot(viewPlaneNormal, focalPoint.map((part, at) => part - origin[at]));
  // 1e-6: a plane between two slices is of the second, however the numbers round
  const level = (u, v) => (start - steps[across] * u - steps[down] * v) / steps[away] + 1e-6;
  return [across, down, away, level];
}

// --- shapes in a grid: each calls `mark(u, v)` with the pixels whose middles lie inside ----------

/** Call with each pixel from `low` to `high`, both within the grid. */
function eachPixel([columns, rows], low, high, mark) {
  const [left, top] = low.map(part => Math.max(0, Math.ceil(part)));
  const right = Math.min(columns - 1, Math.floor(high[0]));
  const bottom = Math.min(rows - 1, Math.floor(high[1]));
  for (let v = top; v <= bottom; v += 1) {
    for (let u = left; u <= right; u += 1) {
      mark(u, v);
    }
  }
}

/** A disc that is moved from one place to another; `radius` in mm. */
function fillStroke({ size, spacing }, from, to, radius, mark) {
  const reach = spacing.map(step => radius / step);
  const low = [0, 1].map(axis => Math.min(from[axis], to[axis]) - reach[axis]);
  const high = [0, 1].map(axis => Math.max(from[axis], to[axis]) + reach[axis]);
  const along = [0, 1].map(axis => (to[axis] - from[axis]) * spacing[axis]);
  const length = along[0] ** 2 + along[1] ** 2;
  eachPixel(size, low, high, (u, v) => {
    const away = [(u - from[0]) * spacing[0], (v - from[1]) * spacing[1]];
    const part = length ? (away[0] * along[0] + away[1] * along[1]) / length : 0;
    const nearest = Math.min(1, Math.max(0, part));
    if (Math.hypot(away[0] - nearest * along[0], away[1] - nearest * along[1]) <= radius) {
      mark(u, v);
    }
  });
}

/** A rectangle between two corners. */
function fillBox({ size }, one, other, mark) {
  const low = [0, 1].map(axis => Math.min(one[axis], other[axis]));
  const high = [0, 1].map(axis => Math.max(one[axis], other[axis]));
  eachPixel(size, low, high, mark);
}

/** A polygon, closed; where it crosses itself, what an odd number of lines surrounds. */
function fillPolygon({ size }, points, mark) {
  const heights = points.map(([, v]) => v);
  const top = Math.max(0, Math.ceil(Math.min(...heights)));
  const bottom = Math.min(size[1] - 1, Math.floor(Math.max(...heights)));
  for (let v = top; v <= bottom; v += 1) {
    const crossings = [];
    points.forEach(([x, y], number) => {
      const [nextX, nextY] = points[(number + 1) % points.length];
      if (y <= v !== nextY <= v) {
        crossings.push(x + ((v - y) / (nextY - y)) * (nextX - x));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      eachPixel(size, [crossings[pair], v], [crossings[pair + 1], v], mark);
    }
  }
}
