// Named layers: old answers and saved labels as outlines beside the label that is worked on.

const LAYER_COLOURS = [
  [255, 77, 109, 255],
  [160, 108, 255, 255],
  [255, 200, 60, 255],
  [120, 255, 150, 255],
];
const labelLayers = new Map(); // what each segmentation shows that is a layer
const oldAnswers = { kept: false, count: 0 }; // by choice of the reader

/** Draw the outline of a label map, or fill it. */
function showOutline(segmentationId, outlined) {
  const { segmentationService } = window.services;
  const style = {
    renderFill: !outlined,
    renderFillInactive: !outlined,
    renderOutline: true,
    renderOutlineInactive: true,
    outlineWidth: outlined ? 3 : 1,
    outlineWidthInactive: outlined ? 3 : 1,
  };
  segmentationService.setStyle({ type: 'Labelmap', segmentationId }, style);
  triggerDrawing(segmentationId);
}

const triggerDrawing = segmentationId =>
  window.cornerstoneTools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(
    segmentationId
  );

/** Give all segments one colour; label maps share their colours otherwise. */
function setOwnColour(viewportId, segmentationId, colour) {
  const { color } = window.cornerstoneTools.segmentation.config;
  const table = Array.from({ length: 256 }, (_, value) => (value ? [...colour] : [0, 0, 0, 0]));
  color.setColorLUT(viewportId, segmentationId, color.addColorLUT(table));
}

/**
 * Lay a label over an image beside the one that is worked on.
 *
 * @param {string} name as the reader sees it
 * @param {{displaySet: object, model: string, labels: Object<string, number>}} about
 * @param {Uint8Array} data in the server's order of slices
 */
async function addLayer(name, { displaySet, model, labels }, data) {
  const active = activeLabelmap();
  const segmentationId = await ensureLabelmap(displaySet, name, labels);
  drawLabel(segmentationId, data);
  const known = labelLayers.get(segmentationId);
  const colour = known?.colour ?? LAYER_COLOURS[labelLayers.size % LAYER_COLOURS.length];
  labelLayers.set(segmentationId, { name, displaySet, model, labels, colour });
  labelmapModels.set(segmentationId, model);
  const { segmentationService } = window.services;
  for (const viewportId of viewportsOf(displaySet)) {
    segmentationService.setRenderInactiveSegmentations(viewportId, true);
    setOwnColour(viewportId, segmentationId, colour);
    if (active) {
      segmentationService.setActiveSegmentation(viewportId, active);
    }
  }
  showOutline(segmentationId, true);
  announce('label');
  return segmentationId;
}

/** Keep a label map as it is as a layer, named after its model and the time. */
function keepAsLayer(segmentationId) {
  const model = labelmapModels.get(segmentationId);
  const labels = structuresOf(segmentationId);
  const time = new Date().toTimeString().slice(0, 8);
  const about = { displaySet: displaySetOf(segmentationId), model, labels };
  return addLayer(`${model}, ${time}`, about, takeLabel(segmentationId).data);
}

function removeLayer(segmentationId) {
  const { displaySet } = labelLayers.get(segmentationId);
  labelLayers.delete(segmentationId);
  labelmapModels.delete(segmentationId);
  window.services.segmentationService.remove(segmentationId);
  const mine = activeLabelmap();
  if (mine && !layersOver(displaySet).length) {
    showOutline(mine, false);
  }
  announce('label');
}

/** The layers over an image. */
const layersOver = displaySet =>
  [...labelLayers].filter(([, layer]) => layer.displaySet === displaySet);

/** Values by structure of a label map that is drawn. */
function structuresOf(segmentationId) {
  const { segments } = segmentationState().getSegmentation(segmentationId);
  return Object.fromEntries(
    Object.values(segments).map(({ label, segmentIndex }) => [label, segmentIndex])
  );
}

/**
 * Dice of two label maps over the same image, by structure; empty ones agree.
 *
 * @returns {Object<string, number>} of the structures that either has
 */
function diceOf(one, other) {
  const [a, b] = [one, other].map(id => takeLabel(id).data);
  const [inOne, inOther] = [one, other].map(structuresOf);
  const found = {};
  for (const name of new Set([...Object.keys(inOne), ...Object.keys(inOther)])) {
    let [both, sum] = [0, 0];
    for (let at = 0; at < a.length; at += 1) {
      const first = name in inOne && a[at] === inOne[name];
      const second = name in inOther && b[at] === inOther[name];
      both += first && second;
      sum += first + second;
    }
    found[name] = sum ? (2 * both) / sum : 1;
  }
  return found;
}
