// What is drawn: a task, and the structure of it that the tools draw.

/** Names and values of what a task draws, with or without weights; none of one that answers classes. */
function labelsOf(task) {
  const { info, image } = panelState;
  if (task === PERCENT_DENSITY) {
    return DRAWN_TISSUES;
  }
  return isDensity(task)
    ? {}
    : image?.structures?.[task] ?? info.trainers[task]?.labels ?? info.models[task]?.labels ?? {};
}

/** Whether a model answers from marks alone, for structures of any task. */
const isUntrained = model => !isDensity(model) && !(model in panelState.info.trainers);

/** The task whose label map is worked on in the active viewport; '' if there is none. */
const openTask = () => labelmapModels.get(activeLabelmap()) ?? '';

/** The tasks whose structures may be drawn on the shown image: the open one first, then the best. */
function paintedTasks() {
  const { info, image } = panelState;
  const fitting = Object.keys(image?.structures ?? info.trainers);
  const tasks = [openTask(), ...fitting].filter(task => task && !isUntrained(task));
  return [...new Set(tasks)].filter(task => Object.keys(labelsOf(task)).length);
}

/** The tasks to draw for: the chosen model, or any where it has no structures; tissue that is open. */
function drawnTasks() {
  const { model } = panelState;
  if (isDensity(model)) {
    return [PERCENT_DENSITY];
  }
  const tasks = model && !isUntrained(model) ? [model] : paintedTasks();
  return openTask() === PERCENT_DENSITY ? [PERCENT_DENSITY, ...tasks] : tasks;
}

/** The structures to choose from, by name: their task. */
function offeredStructures() {
  const offered = new Map();
  for (const task of drawnTasks()) {
    Object.keys(labelsOf(task)).forEach(name => offered.has(name) || offered.set(name, task));
  }
  return offered;
}

let askedStructure = ''; // what the reader chose

/** Keep the structure that was chosen where it is offered, else take the first. */
function keepStructure() {
  const offered = offeredStructures();
  const [first = ''] = offered.keys();
  panelState.structure = offered.has(askedStructure) ? askedStructure : first;
  return offered;
}

/** The colour in which a structure is drawn, [red, green, blue]. */
const colourOf = (task, structure) =>
  OVERLAY_COLOURS[
    Math.max(0, Object.keys(labelsOf(task)).indexOf(structure)) % OVERLAY_COLOURS.length
  ].slice(0, 3);

/**
 * The label map that tools draw into on an image, made if there is none, with the structure active.
 *
 * @returns {Promise<{segmentationId: string, value: number, structure: string}>}
 */
async function labelmapToDraw(displaySet) {
  const offered = keepStructure();
  const { structure } = panelState;
  const task = offered.get(structure);
  if (!task) {
    throw new Error('No task of this server draws on such images; start it with one that does');
  }
  const labels = labelsOf(task);
  const value = labels[structure];
  if (task === PERCENT_DENSITY && !labelImages(tissueId(displaySet)).length) {
    throw new Error('There is no tissue to correct on this view; press Percent density first');
  }
  const segmentationId = await ensureLabelmap(displaySet, task, labels);
  window.services.segmentationService.setActiveSegment(segmentationId, value);
  knowLabelmap(segmentationId);
  return { segmentationId, value, structure };
}

/**
 * Put an answer about one structure into a label; other structures stay.
 *
 * @param {Uint8Array} drawn the label, changed in place
 * @param {Uint8Array} answer not 0 inside the structure
 * @param {number} value of the structure
 * @param {boolean} adds whether what is drawn of the structure outside the answer stays
 */
function mergeStructure(drawn, answer, value, adds = false) {
  if (answer.length !== drawn.length) {
    throw new Error('The answer is of another image, so nothing was drawn');
  }
  answer.forEach((inside, place) => {
    if (inside && !drawn[place]) {
      drawn[place] = value;
    } else if (!inside && !adds && drawn[place] === value) {
      drawn[place] = 0;
    }
  });
  return drawn;
}

// --- the selector --------------------------------------------------------------------------------

function structureSelector() {
  const select = make('select', { class: 'ml-structure', 'aria-label': 'Structure' });
  select.addEventListener('change', () => chooseStructure(select.value));
  const swatch = make('span', { class: 'ml-colour', 'aria-hidden': 'true' });
  return make('label', { class: 'ml-inline' }, ['Structure', swatch, select]);
}

function chooseStructure(name) {
  askedStructure = name;
  panelState.structure = name;
  announce('structure');
}

/** The structure after the chosen one, the first after the last. */
function nextStructure() {
  const names = [...keepStructure().keys()];
  if (names.length) {
    chooseStructure(names[(names.indexOf(panelState.structure) + 1) % names.length]);
  }
}

/** Show the structures that can be drawn, and which one is. */
function showStructures() {
  const select = panelState.root?.querySelector('.ml-structure');
  if (!select) {
    return;
  }
  const offered = keepStructure();
  const names = [...offered.keys()];
  if (names.join('\n') !== [...select.options].map(option => option.value).join('\n')) {
    setChoices(select, names, panelState.structure);
  }
  select.value = panelState.structure;
  select.disabled = !names.length;
  const colour = name => `rgb(${colourOf(offered.get(name), name).join(' ')})`;
  for (const option of select.options) {
    option.style.color = colour(option.value);
  }
  const swatch = panelState.root.querySelector('.ml-colour');
  swatch.style.background = names.length ? colour(panelState.structure) : 'none';
}
