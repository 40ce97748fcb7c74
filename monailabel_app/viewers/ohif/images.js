// What is on the screen: display sets, their images in space, and the views of mammography.

/** The display set of a viewport, if it has images. */
function displaySetIn(viewportId) {
  const { viewportGridService, displaySetService } = window.services;
  const shown = viewportGridService.getState().viewports.get(viewportId);
  return (shown?.displaySetInstanceUIDs ?? [])
    .map(uid => displaySetService.getDisplaySetByUID(uid))
    .find(displaySet => displaySet?.imageIds?.length);
}

/** The display set of the active viewport, if it has images. */
const activeDisplaySet = () =>
  displaySetIn(window.services.viewportGridService.getState().activeViewportId);

/** The instance and, from 1, the frame of an image. */
function frameOf(imageId) {
  const { SOPInstanceUID } = window.cornerstone.metaData.get('instance', imageId);
  return { SOPInstanceUID, frame: Number(/\/frames\/(\d+)/.exec(imageId)?.[1] ?? 1) };
}

/**
 * The SOPInstanceUID of what is shown of a display set: it is how requests name the image.
 *
 * In a plane of a volume that is none of its slices, or if another display set is in the active
 * viewport, it is that of the first image.
 */
function shownInstance(displaySet = activeDisplaySet()) {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const { activeViewportId } = viewportGridService.getState();
  const viewport = cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
  const shown = viewport?.getCurrentImageId?.();
  const { imageIds } = displaySet;
  return frameOf(imageIds.includes(shown) ? shown : imageIds[0]).SOPInstanceUID;
}

/** Ids of the viewports that show a display set. */
function viewportsOf(displaySet) {
  const { viewports } = window.services.viewportGridService.getState();
  return [...viewports.values()]
    .filter(viewport =>
      viewport.displaySetInstanceUIDs?.includes(displaySet.displaySetInstanceUID)
    )
    .map(viewport => viewport.viewportId);
}

const placing = { provided: false, asking: false };

/**
 * Tell where the first frame of an object lies, for cornerstone: OHIF gives it the place of the
 * frame that was asked for last.
 */
function placeFirstFrame(type, imageId) {
  const wrong = ['instance', 'imagePlaneModule'].includes(type) && /\/frames\/1$/.test(imageId);
  if (!wrong || placing.asking) {
    return undefined;
  }
  placing.asking = true;
  try {
    const { metaData } = window.cornerstone;
    const [groups] = metaData.get('instance', imageId)?.PerFrameFunctionalGroupsSequence ?? [];
    const place = [groups?.PlanePositionSequence].flat()[0]?.ImagePositionPatient;
    const key = type === 'instance' ? 'ImagePositionPatient' : 'imagePositionPatient';
    return place && { ...metaData.get(type, imageId), [key]: [...place].map(Number) };
  } finally {
    placing.asking = false;
  }
}

/** Have cornerstone ask `placeFirstFrame` before OHIF. */
function provideFirstFrames() {
  if (!placing.provided) {
    window.cornerstone.metaData.addProvider(placeFirstFrame, 100000);
    placing.provided = true;
  }
}

/** The plane of an image in the patient; undefined if its tags do not contain it. */
function planeOf(imageId) {
  const plane = window.cornerstone.metaData.get('imagePlaneModule', imageId);
  const instance = window.cornerstone.metaData.get('instance', imageId);
  const located = instance?.ImagePositionPatient && instance?.ImageOrientationPatient;
  return located && plane?.rowCosines && plane?.imagePositionPatient ? plane : undefined;
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

const MADE_HERE = 'monailabel-unet-vnet'; // manufacturer of what the server makes of files

/**
 * Sort images along the normal of their plane as the server does. What it made of a file, and the
 * frames of one object if they lead one way, stay as in the file, whichever way that is.
 *
 * @param {number[]} order indices into `imageIds`, sorted in place
 * @param {number[]} positions of the images along the normal, mm
 */
function sortAsServer(order, imageIds, positions) {
  const instances = imageIds.map(id => window.cornerstone.metaData.get('instance', id));
  if (instances.every(({ Manufacturer }) => Manufacturer === MADE_HERE)) {
    order.sort((a, b) => instances[a].InstanceNumber - instances[b].InstanceNumber);
    return;
  }
  const steps = positions.slice(1).map((position, index) => position - positions[index]);
  const oneWay = steps.every(step => step >= 0) || steps.every(step => step <= 0);
  if (!oneWay || new Set(instances.map(({ SOPInstanceUID }) => SOPInstanceUID)).size > 1) {
    order.sort((a, b) => positions[a] - positions[b]);
  }
}

/**
 * The images as the server orders them, see `sortAsServer`; as listed if they have no position in
 * the patient, or all the same one.
 *
 * @returns {{order: number[], grid: ?object}} indices into `imageIds`, and the grid in mm
 */
function spatialOrder(imageIds) {
  const order = imageIds.map((_, index) => index);
  const planes = imageIds.length > 1 ? imageIds.map(planeOf) : [undefined];
  if (!planes.every(Boolean)) {
    return { order, grid: null };
  }
  const [x, y] = [planes[0].rowCosines, planes[0].columnCosines].map(axis => [...axis]);
  const normal = [
    x[1] * y[2] - x[2] * y[1],
    x[2] * y[0] - x[0] * y[2],
    x[0] * y[1] - x[1] * y[0],
  ];
  const positions = planes.map(plane => dot(plane.imagePositionPatient, normal));
  sortAsServer(order, imageIds, positions);
  const first = planes[order[0]];
  const last = planes[order[order.length - 1]];
  const step = [0, 1, 2].map(
    axis =>
      (last.imagePositionPatient[axis] - first.imagePositionPatient[axis]) / (order.length - 1)
  );
  if (!dot(step, normal)) {
    return { order: imageIds.map((_, index) => index), grid: null };
  }
  const scaled = (axis, spacing) => axis.map(part => part * (spacing || 1));
  const grid = {
    origin: [...first.imagePositionPatient],
    directions: [
      scaled(x, first.columnPixelSpacing),
      scaled(y, first.rowPixelSpacing),
      step,
    ],
  };
  return { order, grid };
}
