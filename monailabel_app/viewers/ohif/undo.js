// Undo and redo of all that changes a label: clicks, strokes, boxes, answers.
//
// What each label map held last is kept; a step is the slices that differ from it. So it does not
// matter which tool drew, and strokes of OHIF's own tools count too.

const MOST_STEPS = 100;
const MOST_BYTES = 2 ** 28; // of kept slices; older steps are forgotten
const QUIET_MS = 120; // after the last change of a stroke

const steps = {
  known: new Map(), // slices of each label map, as copied last
  byImage: new Map(), // by display set: {done: [], undone: []}
  running: 0, // changes under way that will be one step
  timer: 0,
};

const valuesOf = image => image.voxelManager.getScalarData();

/** Remember what a label map holds, without a step; what is known already stays. */
function knowLabelmap(segmentationId) {
  const images = labelImages(segmentationId);
  if (images.length && !steps.known.has(segmentationId)) {
    steps.known.set(segmentationId, images.map(image => Uint8Array.from(valuesOf(image))));
  }
}

function stepsOn(displaySet) {
  const key = displaySet?.displaySetInstanceUID;
  if (!steps.byImage.has(key)) {
    steps.byImage.set(key, { done: [], undone: [] });
  }
  return steps.byImage.get(key);
}

/** Whether two slices hold the same; a loop, as a volume may have 10^8 voxels. */
function same(one, other) {
  let at = 0;
  while (at < one.length && one[at] === other[at]) {
    at += 1;
  }
  return at === one.length;
}

/** The slices of an image's label maps that have changed since they were last known. */
function changedSlices(displaySet) {
  const found = [];
  for (const segmentationId of labelmapModels.keys()) {
    const images = displaySetOf(segmentationId) === displaySet ? labelImages(segmentationId) : [];
    if (labelLayers.has(segmentationId) || !images.length) {
      continue;
    }
    if (!steps.known.has(segmentationId)) {
      const empty = images.map(image => new Uint8Array(valuesOf(image).length));
      steps.known.set(segmentationId, empty);
    }
    const slices = steps.known.get(segmentationId);
    images.forEach((image, index) => {
      const after = valuesOf(image);
      if (!same(slices[index], after)) {
        const change = { segmentationId, index, before: slices[index] };
        change.after = Uint8Array.from(after);
        slices[index] = change.after;
        found.push(change);
      }
    });
  }
  return found;
}

/** What belongs to the labels of an image beside their pixels. */
const besides = displaySet => ({
  clicks: answeredClicks(displaySet),
  answer: panelState.answers.get(answerKey(displaySet)),
});

/** Make a step of what has changed on an image. */
function settle(displaySet, before = besides(displaySet)) {
  const changes = changedSlices(displaySet);
  const after = besides(displaySet);
  if (!changes.length && sameClicks(before.clicks, after.clicks)) {
    return;
  }
  const { done, undone } = stepsOn(displaySet);
  done.push({ changes, before, after });
  undone.length = 0;
  const bytes = step => step.changes.reduce((sum, change) => sum + 2 * change.after.length, 0);
  let total = done.reduce((sum, step) => sum + bytes(step), 0);
  while (done.length > 1 && (done.length > MOST_STEPS || total > MOST_BYTES)) {
    total -= bytes(done.shift());
  }
  showSteps();
}

/** Run what changes the label of an image, as one step. */
async function asStep(displaySet, change) {
  if (steps.running) {
    return change(); // a part of the step under way
  }
  settle(displaySet); // of a stroke just before
  const before = besides(displaySet);
  steps.running += 1;
  try {
    return await change();
  } finally {
    steps.running -= 1;
    settle(displaySet, before);
    announce('label', { displaySet });
  }
}

/** Take back, or do again, the last step on the active image. */
async function goBack(forward = false) {
  await clicking.running;
  const displaySet = requireImage();
  settle(displaySet);
  const { done, undone } = stepsOn(displaySet);
  const step = (forward ? undone : done).pop();
  if (!step) {
    throw new Error(forward ? 'There is nothing to redo' : 'There is nothing to undo');
  }
  (forward ? done : undone).push(step);
  const side = forward ? 'after' : 'before';
  for (const change of step.changes) {
    valuesOf(labelImages(change.segmentationId)[change.index]).set(change[side]);
    steps.known.get(change.segmentationId)[change.index] = change[side];
  }
  new Set(step.changes.map(change => change.segmentationId)).forEach(triggerDrawing);
  restoreClicks(displaySet, step[side].clicks);
  const key = answerKey(displaySet);
  if (step[side].answer) {
    panelState.answers.set(key, step[side].answer);
  } else {
    panelState.answers.delete(key);
  }
  updateSections({ type: 'answer', detail: null });
  announce('label', { displaySet });
  return forward ? 'Done again' : 'Undone';
}

/** After a stroke of OHIF's tools, which is a series of changes, make a step of it. */
function onLabelModified({ detail }) {
  window.clearTimeout(steps.timer);
  steps.timer = window.setTimeout(() => {
    const displaySet = !steps.running && displaySetOf(detail.segmentationId);
    if (displaySet && labelmapModels.has(detail.segmentationId)) {
      settle(displaySet);
    }
  }, QUIET_MS);
}

function watchLabels(there) {
  const { eventTarget } = window.cornerstone;
  const { SEGMENTATION_DATA_MODIFIED } = window.cornerstoneTools.Enums.Events;
  const listen = there ? 'addEventListener' : 'removeEventListener';
  eventTarget[listen](SEGMENTATION_DATA_MODIFIED, onLabelModified);
}

function undoButtons() {
  return [
    ['undo', 'Undo', 'Take back the last change of this label (Ctrl+Z)'],
    ['redo', 'Redo', 'Do the last change again (Ctrl+Shift+Z)'],
  ].map(([name, word, title]) => {
    const button = iconButton(word, title);
    button.dataset.do = name;
    button.addEventListener('click', () => act(button, 'Waiting ...', () => goBack(name === 'redo')));
    return button;
  });
}

/** Show whether there is something to undo or redo. */
function showSteps() {
  const displaySet = activeDisplaySet();
  const found = displaySet && stepsOn(displaySet);
  for (const [name, list] of [['undo', found?.done], ['redo', found?.undone]]) {
    const button = panelState.root?.querySelector(`[data-do="${name}"]`);
    if (button) {
      button.setAttribute('aria-disabled', `${!list?.length}`);
    }
  }
}
