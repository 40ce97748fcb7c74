// Pictures in colour laid over the images in the viewports. They follow zoom, pan, turns and flips.

const layers = {
  shown: new Map(), // by the UID of a study: picture by id of the image that it lies over
  opacity: 0.7,
  watched: false,
};

/**
 * Lay pictures over the images of a study, in place of those that were shown over them.
 *
 * @param {Map<string, ImageBitmap>} pictures by imageId; each has the size of its image
 */
function showLayers(study, pictures) {
  layers.shown.get(study)?.forEach(picture => picture.close());
  layers.shown.set(study, pictures);
  if (!layers.watched) {
    layers.watched = true;
    document.addEventListener('CORNERSTONE_IMAGE_RENDERED', drawShownLayer, true);
  }
  drawLayers();
}

const hideLayers = study => showLayers(study, new Map());

/** The picture over an image; undefined if there is none. */
const layerOver = imageId =>
  [...layers.shown.values()].map(pictures => pictures.get(imageId)).find(Boolean);

/** @param {number} opacity 0 to 1 */
function setLayerOpacity(opacity) {
  layers.opacity = opacity;
  document.querySelectorAll('.ml-layer').forEach(canvas => (canvas.style.opacity = opacity));
}

function drawLayers() {
  window.cornerstone.getEnabledElements().forEach(({ viewport }) => drawLayer(viewport));
}

function drawShownLayer({ detail }) {
  const viewport = window.cornerstone.getEnabledElement(detail.element)?.viewport;
  if (viewport) {
    drawLayer(viewport);
  }
}

/** Draw the layer of the image that a viewport shows, pixel upon pixel. */
function drawLayer(viewport) {
  const picture =
    viewport.type === 'stack' ? layerOver(viewport.getCurrentImageId()) : undefined;
  let canvas = viewport.element.querySelector('.ml-layer');
  const { imageData } = (picture && viewport.getImageData()) ?? {};
  if (!imageData) {
    canvas?.remove();
    return;
  }
  if (!canvas) {
    canvas = make('canvas', { class: 'ml-layer' });
    canvas.style.opacity = layers.opacity;
    viewport.element.append(canvas);
  }
  const { clientWidth, clientHeight } = viewport.canvas;
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(clientWidth * ratio); // clears it
  canvas.height = Math.round(clientHeight * ratio);
  // the middle of the first pixel has the index 0, its corner -0.5
  const corner = (x, y) =>
    viewport
      .worldToCanvas(imageData.indexToWorld([x - 0.5, y - 0.5, 0]))
      .map(part => part * ratio);
  const { width, height } = picture;
  const [origin, right, down] = [corner(0, 0), corner(width, 0), corner(0, height)];
  const along = (end, pixels) => end.map((part, axis) => (part - origin[axis]) / pixels);
  const [across, below] = [along(right, width), along(down, height)];
  const context = canvas.getContext('2d');
  context.setTransform(...across, ...below, ...origin);
  context.imageSmoothingEnabled = Math.hypot(...across) < 1; // enlarged, each pixel is seen
  context.drawImage(picture, 0, 0);
}

/** Fetch a picture of the server that is to lie over an image. */
async function fetchLayer(path, displaySet) {
  const picture = await createImageBitmap(await (await ask('GET', path)).blob());
  const { Rows, Columns } = displaySet.instances[0];
  if (picture.width !== Columns || picture.height !== Rows) {
    throw new Error(
      `The layer has ${picture.width} x ${picture.height} pixels, its image ${Columns} x ${Rows}; ` +
        'it is of another image, so nothing was drawn'
    );
  }
  return picture;
}
