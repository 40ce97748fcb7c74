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

/** Ids of the viewports that show a display set. */
function viewportsOf(displaySet) {
  const { viewports } = window.services.viewportGridService.getState();
  return [...viewports.values()]
    .filter(viewport =>
      viewport.displaySetInstanceUIDs?.includes(displaySet.displaySetInstanceUID)
    )
    .map(viewport => viewport.viewportId);
}

/** The plane of an image in the patient; undefined if its tags do not contain it. */
function planeOf(imageId) {
  const plane = window.cornerstone.metaData.get('imagePlaneModule', imageId);
  const instance = window.cornerstone.metaData.get('instance', imageId);
  const located = instance?.ImagePositionPatient && instance?.ImageOrientationPatient;
  return located && plane?.rowCosines && plane?.imagePositionPatient ? plane : undefined;
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/**
 * The images as the server orders them: in space along the normal of their plane, or as listed
 * if they have no position in the patient, or all the same one.
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
  order.sort((a, b) => positions[a] - positions[b]);
  const first = planes[order[0]];
  const last = planes[order[order.length - 1]];
  const step = [0, 1, 2].map(
    axis =>
      (last.imagePositionPatient[axis] - first.imagePositionPatient[axis]) / (order.length - 1)
  );
  if (dot(step, normal) <= 0) {
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

const VIEW_CODES = { 'R-10242': 'CC', 'R-10226': 'MLO', 399162004: 'CC', 399368009: 'MLO' };

/** Name such as "R-CC" of the mammogram in a display set; empty for any other image. */
function mammogramView(displaySet) {
  const instance = displaySet?.instances?.[0] ?? displaySet?.images?.[0];
  if (instance?.Modality !== 'MG') {
    return '';
  }
  const side = instance.ImageLaterality || instance.Laterality || '';
  const code = [instance.ViewCodeSequence].flat()[0]?.CodeValue;
  const view = instance.ViewPosition || VIEW_CODES[code] || '';
  return /^[RL]$/.test(side) && /^(CC|MLO)$/.test(view) ? `${side}-${view}` : '';
}

/** The display sets of the open study, by the name of their view. */
function mammograms() {
  const found = {};
  for (const displaySet of window.services.displaySetService.getActiveDisplaySets()) {
    const view = mammogramView(displaySet);
    found[view] = found[view] ?? displaySet;
  }
  delete found[''];
  return found;
}
