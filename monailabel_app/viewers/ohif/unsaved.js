// Work that is not saved: what the reader drew or clicked since the last answer, opening or saving.

// print, and whether it is work that is lost with the page, by label map
const labelMarks = new Map();

/** A number for what a label map shows; 0 where nothing is drawn. */
function printOf(segmentationId) {
  let print = 17;
  let found = false;
  for (const image of labelImages(segmentationId)) {
    const values = image?.voxelManager.getScalarData() ?? [];
    for (let at = 0; at < values.length; at += 1) {
      if (values[at]) {
        found = true;
        print = Math.imul(print ^ values[at], 16777619) ^ at;
      }
    }
    print = Math.imul(print, 31);
  }
  return found ? print || 1 : 0;
}

/** Note that a label map is as a model, the server or the reader's last saving has it. */
function markLabel(segmentationId, unsaved = false) {
  labelMarks.set(segmentationId, { print: printOf(segmentationId), unsaved });
}

/** Whether the reader has drawn since the last mark. */
const isDrawnByHand = segmentationId =>
  printOf(segmentationId) !== (labelMarks.get(segmentationId)?.print ?? 0);

/** What would be lost with the page: the label maps, how they came to be, and on which image. */
function unsavedWork() {
  const found = [];
  for (const [segmentationId, model] of labelmapModels) {
    const displaySet = !labelLayers.has(segmentationId) && displaySetOf(segmentationId);
    const byHand = displaySet && isDrawnByHand(segmentationId);
    if (byHand || (displaySet && labelMarks.get(segmentationId)?.unsaved)) {
      const how = byHand ? 'drawn by hand' : 'corrected by clicks';
      const image = displaySet.SeriesDescription || `series ${displaySet.SeriesNumber}`;
      found.push({ segmentationId, text: `label of ${model}, ${how}, on ${image}` });
    }
  }
  return found;
}

/**
 * Ask before unsaved work is left.
 *
 * @param {string} where what comes then, such as "Next image"
 * @returns {Promise<boolean>} whether to go on
 */
async function mayLeave(where) {
  const unsaved = unsavedWork();
  if (!unsaved.length) {
    return true;
  }
  const [{ segmentationId }] = unsaved;
  const submits = unsaved.length === 1 && segmentationId === activeLabelmap();
  const answer = await question(
    `Not saved:\n${unsaved.map(({ text }) => text).join('\n')}\n${where} leaves it.`,
    { ...(submits ? { submit: 'Submit it' } : {}), leave: 'Leave it', stay: 'Stay here' }
  );
  if (answer === 'submit') {
    await submitLabel();
    return !unsavedWork().length;
  }
  if (answer === 'leave') {
    unsaved.forEach(one => markLabel(one.segmentationId));
  }
  return answer === 'leave';
}

/**
 * Ask before an answer takes the place of what the reader drew; keep an old answer if so chosen.
 *
 * @param {boolean} clicked whether the answer is to clicks, which correct the old one
 * @returns {Promise<boolean>} whether to draw the answer
 */
async function mayReplace(segmentationId, clicked = false) {
  if (!labelImages(segmentationId).length || !printOf(segmentationId)) {
    return true;
  }
  let keep = oldAnswers.kept && !clicked;
  if (!keep && isDrawnByHand(segmentationId)) {
    const answer = await question(
      'Your drawing on this image is not saved, and the answer would take its place.',
      { keep: 'Keep it as a layer', replace: 'Replace it', stay: 'Leave it as it is' }
    );
    keep = answer === 'keep';
    if (answer === 'stay') {
      return false;
    }
  }
  if (keep) {
    await keepAsLayer(segmentationId);
  }
  return true;
}

/** Ask whether a label without anything drawn is meant as an answer. */
async function nothingThere(names) {
  const text =
    `Nothing is drawn. Is there no ${names.join(', no ')} in this image? ` +
    'Then the empty label is saved, and trained on as background.';
  return (await question(text, { yes: 'Nothing there', no: 'Go on drawing' })) === 'yes';
}

panelEvents.addEventListener('answer', ({ detail }) => {
  const density = isDensity(detail.model);
  for (const [segmentationId, model] of labelmapModels) {
    const own = segmentationId.endsWith(`:${detail.displaySet.displaySetInstanceUID}`);
    if (model === detail.model && (own || density) && !labelLayers.has(segmentationId)) {
      markLabel(segmentationId, clicksOn(detail.displaySet, model).list.length > 0);
    }
  }
});
panelEvents.addEventListener('saved', () => {
  const segmentationId = activeLabelmap();
  if (segmentationId) {
    markLabel(segmentationId);
  }
});

window.addEventListener('beforeunload', event => {
  if (window.cornerstoneTools && unsavedWork().length) {
    event.preventDefault();
    event.returnValue = true; // as browsers before 2024 want it
  }
});

// OHIF's way back to the list of studies stays in the page
document.addEventListener(
  'click',
  event => {
    const back = event.target.closest?.('[data-cy="return-to-work-list"]');
    if (!back || !window.cornerstoneTools || !unsavedWork().length) {
      return;
    }
    event.stopPropagation();
    event.preventDefault();
    mayLeave('The list of studies').then(leave => leave && back.click());
  },
  true
);
