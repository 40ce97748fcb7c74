// Dense tissue over the views of an exam: estimated or answered by the server, corrected by the
// reader, with the percent density of what is drawn.

const PERCENT_DENSITY = 'percent_density'; // the tool of the server, which needs no weights
const TISSUE_TAG = 'dense_tissue'; // of the labels that keep what a reader corrected
const TISSUES = { 'dense tissue': 1, 'other breast tissue': 2, 'pectoral muscle': 3 };
const DENSE = 1;
const OTHER_TISSUE = 2;
const DRAWN_TISSUES = { 'dense tissue': DENSE, 'pectoral muscle': 3 };

// by display set: {view, displaySet, breast (pixels of it, 0 or 1), percent, source, corrected}
const tissues = new Map();
const tissueDrawing = { own: false, watched: false, due: null };

const tissueId = displaySet => `${PERCENT_DENSITY}:${displaySet.displaySetInstanceUID}`;

/** The views with tissue of the shown exam, as they hang. */
function shownTissues() {
  const study = shownExam();
  const own = [...tissues.values()].filter(kept => kept.displaySet.StudyInstanceUID === study);
  return Object.keys(mammographyProtocol.displaySetSelectors).flatMap(name =>
    own.filter(({ view }) => view === name)
  );
}

/**
 * The display set that a view of an answer is about, by its file if several are alike.
 *
 * @param {string} study UID of the study that was asked about
 */
function displaySetOfView(answer, view, study) {
  const { file = '' } = answer.views[view] ?? {};
  const { instances = {}, study: told } = { ...densityState.saved, study: densityState.study };
  const read = told === study ? instances[file] : undefined;
  const isRead = one =>
    one.SOPInstanceUID === read ||
    [one.SeriesInstanceUID, one.SOPInstanceUID].some(uid => file.includes(uid));
  const named = window.services.displaySetService
    .getActiveDisplaySets()
    .find(
      one =>
        one.StudyInstanceUID === study && isMammogram(one) && one.instances?.slice(0, 1).some(isRead)
    );
  return named ?? mammograms(study)[view];
}

/** Bring a view onto the screen that was read, in place of another image of that view. */
function hangInstead(displaySet) {
  if (viewportsOf(displaySet).length) {
    return;
  }
  const { displaySetService, viewportGridService } = window.services;
  const isSame = uid => {
    const other = displaySetService.getDisplaySetByUID(uid);
    const { StudyInstanceUID } = displaySet;
    return (
      other?.StudyInstanceUID === StudyInstanceUID &&
      mammogramView(other) === mammogramView(displaySet)
    );
  };
  const { displaySetInstanceUID } = displaySet;
  const updates = [...viewportGridService.getState().viewports.values()]
    .filter(viewport => viewport.displaySetInstanceUIDs?.some(isSame))
    .map(({ viewportId }) => ({ viewportId, displaySetInstanceUIDs: [displaySetInstanceUID] }));
  viewportGridService.setDisplaySetsForViewports(updates);
}

/**
 * Draw the tissue of all views of an answer.
 *
 * @param {string} study UID of the study that was asked about
 */
async function drawTissues(answer, source, study) {
  for (const [view, path] of Object.entries(answer.tissue ?? {})) {
    const displaySet = displaySetOfView(answer, view, study);
    if (displaySet) {
      hangInstead(displaySet);
      await drawTissue(displaySet, view, await fetchLabel(path), source);
    }
  }
  announce('label');
}

async function fetchLabel(path, query = {}) {
  return (await readNrrd(await (await ask('GET', path, { query })).arrayBuffer())).data;
}

/**
 * Draw the tissue of a view.
 *
 * @param {Uint8Array} data values of `TISSUES`, 0 outside the breast, on the grid of the image
 * @param {string} source who says so, as shown in the table
 */
async function drawTissue(displaySet, view, data, source) {
  const { Rows, Columns } = displaySet.instances[0];
  if (data.length !== Rows * Columns) {
    throw new Error(`The tissue of ${view} is not of the size of its image, so it was not drawn`);
  }
  const kept = {
    view,
    displaySet,
    source,
    breast: data.map(value => (value ? 1 : 0)),
    drawn: data.map(value => (value === OTHER_TISSUE ? 0 : value)),
    corrected: false,
  };
  tissues.set(displaySet.displaySetInstanceUID, kept);
  kept.percent = percentOf(tissueOf(kept, kept.drawn));
  await showTissue(kept);
}

/** Draw kept tissue in the viewports that show its view; elsewhere it waits until they do. */
async function showTissue(kept) {
  const { displaySet } = kept;
  if (!viewportsOf(displaySet).length) {
    return;
  }
  if (!tissueDrawing.watched) {
    tissueDrawing.watched = true;
    const { eventTarget } = window.cornerstone;
    eventTarget.addEventListener('CORNERSTONE_TOOLS_SEGMENTATION_DATA_MODIFIED', noticeTissue);
  }
  tissueDrawing.own = true;
  try {
    const id = await ensureLabelmap(displaySet, PERCENT_DENSITY, DRAWN_TISSUES);
    if (kept.drawn) {
      drawLabel(id, kept.drawn);
      kept.drawn = null; // from now on the label map has it
      markLabel(id);
    }
    styleTissue();
  } finally {
    tissueDrawing.own = false;
  }
}

/** The tissues of a view: what is drawn, and the rest of the breast. */
function tissueOf({ breast }, drawn) {
  // dense tissue that is drawn outside the outline belongs to the breast
  return drawn.map((value, pixel) => value || (breast[pixel] ? OTHER_TISSUE : 0));
}

/** Dense tissue in percent of the breast without the muscle. */
function percentOf(data) {
  const areas = [0, 0, 0, 0];
  for (const value of data) {
    areas[value] += 1;
  }
  const breast = areas[DENSE] + areas[OTHER_TISSUE];
  return breast ? (100 * areas[DENSE]) / breast : 0;
}

/** Percent density of the breasts and of the exam: means of the views, then of the breasts. */
function percentByBreast() {
  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
  const breasts = {};
  shownTissues().forEach(({ view, percent: value }) => {
    breasts[view[0]] = [...(breasts[view[0]] ?? []), value];
  });
  Object.keys(breasts).forEach(side => (breasts[side] = mean(breasts[side])));
  return { breasts, exam: mean(Object.values(breasts)) };
}

/** Follow the reader's brush: the percent of a view that was corrected is counted anew. */
function noticeTissue({ detail }) {
  const kept = [...tissues.values()].find(
    ({ displaySet }) => tissueId(displaySet) === detail.segmentationId
  );
  if (!kept || tissueDrawing.own || kept.drawn) {
    return;
  }
  kept.corrected = isDrawnByHand(detail.segmentationId); // not after all strokes are undone
  kept.stale = true;
  tissueDrawing.due = tissueDrawing.due ?? setTimeout(countTissue, 60);
}

function countTissue() {
  tissueDrawing.due = null;
  tissues.forEach(kept => {
    if (kept.stale) {
      kept.stale = false;
      kept.percent = percentOf(tissueOf(kept, takeLabel(tissueId(kept.displaySet)).data));
    }
  });
  announce('label');
}

/** Show the tissue as opaque as the slider says, or not at all. */
function styleTissue() {
  const { segmentation } = window.cornerstoneTools;
  const { tissue: opacity } = opacities;
  tissues.forEach(({ displaySet }) => {
    const { what, on } = overlayOf(displaySet.StudyInstanceUID);
    const visible = on && what === 'tissue';
    const segmentationId = tissueId(displaySet);
    viewportsOf(displaySet).forEach(viewportId => {
      const specifier = { viewportId, segmentationId, type: 'Labelmap' };
      segmentation.config.style.setStyle(specifier, {
        ...segmentation.config.style.getStyle(specifier),
        renderFill: true,
        fillAlpha: opacity,
        fillAlphaInactive: opacity,
      });
      segmentation.config.visibility.setSegmentationRepresentationVisibility(
        viewportId,
        { segmentationId, type: 'Labelmap' },
        visible
      );
      window.cornerstone.getEnabledElementByViewportId(viewportId)?.viewport.render();
    });
  });
}

/** Save what was corrected by hand, each view as a label of its own beside the exam's class. */
async function saveTissue() {
  const changed = shownTissues().filter(({ corrected }) => corrected);
  for (const kept of changed) {
    const { displaySet } = kept;
    const { data, sizes } = takeLabel(tissueId(displaySet));
    const file = await writeNrrd(tissueOf(kept, data), sizes, null, 'tissue.nrrd');
    await askJson('PUT', 'datastore/label', {
      query: { image: shownInstance(displaySet), tag: TISSUE_TAG },
      form: {
        params: JSON.stringify({ client_id: readerId(), params: { label_names: TISSUES } }),
        label: file,
      },
    });
    Object.assign(kept, { corrected: false, source: 'corrected' });
    markLabel(tissueId(displaySet));
  }
  return changed.length;
}
