// Label maps over all kinds of images: volumes, single frames and cine.
//
// OHIF keeps a label map as one image for each image of a display set; in viewports that reformat
// it shows them as a volume too, which holds the same values.

const OVERLAY_COLOURS = [
  [86, 180, 233, 255],
  [230, 159, 0, 255],
  [0, 158, 115, 255],
  [204, 121, 167, 255],
  [240, 228, 66, 255],
  [213, 94, 0, 255],
];

const labelmapModels = new Map(); // model of each segmentation that was made here

const segmentationState = () => window.cornerstoneTools.segmentation.state;

/** The images of a label map, each with the image that it lies over. */
function labelImages(segmentationId) {
  const data = segmentationState().getSegmentation(segmentationId)?.representationData.Labelmap;
  return (data?.imageIds ?? []).map(imageId => window.cornerstone.cache.getImage(imageId));
}

/** The display set that a label map lies over. */
function displaySetOf(segmentationId) {
  const over = labelImages(segmentationId)[0]?.referencedImageId;
  return window.services.displaySetService
    .getActiveDisplaySets()
    .find(displaySet => displaySet.imageIds?.includes(over));
}

/** Return the label map over a display set with a model's labels as segments; make it if needed. */
async function ensureLabelmap(displaySet, model, labels) {
  const { segmentationService } = window.services;
  const segmentationId = `${model}:${displaySet.displaySetInstanceUID}`;
  const existing = segmentationState().getSegmentation(segmentationId);
  if (!existing) {
    const segments = {};
    Object.entries(labels).forEach(([label, value], index) => {
      segments[value] = {
        segmentIndex: value,
        label,
        active: index === 0,
        locked: false,
        color: OVERLAY_COLOURS[index % OVERLAY_COLOURS.length],
      };
    });
    await segmentationService.createLabelmapForDisplaySet(displaySet, {
      segmentationId,
      segments,
      label: model,
    });
    labelmapModels.set(segmentationId, model);
  }
  for (const viewportId of viewportsOf(displaySet)) {
    const shown = segmentationService.getSegmentationRepresentations(viewportId, {
      segmentationId,
    });
    if (!shown.length) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId });
    }
    Object.values(labels).forEach((value, index) =>
      segmentationService.setSegmentColor(
        viewportId,
        segmentationId,
        value,
        OVERLAY_COLOURS[index % OVERLAY_COLOURS.length]
      )
    );
    segmentationService.setActiveSegmentation(viewportId, segmentationId);
  }
  return segmentationId;
}

/** Draw values that are in the server's order of slices. */
function drawLabel(segmentationId, data) {
  const images = labelImages(segmentationId);
  const { order } = spatialOrder(images.map(image => image.referencedImageId));
  const length = images[0].voxelManager.getScalarData().length;
  if (data.length !== length * images.length) {
    throw new Error(
      `The label has ${data.length} pixels, the images ${length * images.length}; ` +
        'it is of another image, so nothing was drawn'
    );
  }
  order.forEach((index, position) =>
    images[index].voxelManager
      .getScalarData()
      .set(data.subarray(position * length, (position + 1) * length))
  );
  const { triggerSegmentationEvents } = window.cornerstoneTools.segmentation;
  triggerSegmentationEvents.triggerSegmentationDataModified(segmentationId);
}

/** The values of a label map in the server's order of slices, and their grid. */
function takeLabel(segmentationId) {
  const images = labelImages(segmentationId);
  const { order, grid } = spatialOrder(images.map(image => image.referencedImageId));
  const length = images[0].voxelManager.getScalarData().length;
  const data = new Uint8Array(length * images.length);
  order.forEach((index, position) =>
    data.set(images[index].voxelManager.getScalarData(), position * length)
  );
  const { columns, rows } = images[0];
  const sizes = images.length > 1 ? [columns, rows, images.length] : [columns, rows];
  return { data, sizes, grid };
}

/** The label map that the reader works on in the active viewport; undefined if it is a layer. */
function activeLabelmap() {
  const { segmentationService, viewportGridService } = window.services;
  const { activeViewportId } = viewportGridService.getState();
  const segmentationId =
    segmentationService.getActiveSegmentation(activeViewportId)?.segmentationId;
  return labelLayers.has(segmentationId) ? undefined : segmentationId;
}
