// Saved work of the open study: who saved what and when; open it, compare it, correct it.

const savedWork = { rows: [], asked: 0, compared: '', listed: '' };

const shortTime = when =>
  when ? new Date(when).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' }) : 'no date';
const nameOfRow = row => `${row.by}, ${shortTime(row.when)}`;

/** Ask for the saved work of the study of the shown image. */
async function refreshSaved() {
  savedWork.asked += 1;
  const { asked } = savedWork;
  const displaySet = activeDisplaySet();
  const query = displaySet && { image: shownInstance(displaySet), ...askingReader() };
  const rows = query ? await askJson('GET', 'viewer/saved', { query }).catch(() => []) : [];
  if (asked === savedWork.asked) {
    savedWork.rows = rows;
    showSaved();
  }
}

/** The display set of a row's image; undefined if it is not listed here. */
const displaySetOfRow = row =>
  shownChannelOf(row.image) ??
  window.services.displaySetService
    .getActiveDisplaySets()
    .find(
      displaySet =>
        displaySet.imageIds?.length &&
        (displaySet.SeriesInstanceUID === row.image ||
          displaySet.imageIds.some(id =>
            [row.image, row.SOPInstanceUID].includes(frameOf(id).SOPInstanceUID)
          ))
    );

/** Bring the image of a row onto the screen; return its display set. */
async function showImageOf(row) {
  const displaySet = displaySetOfRow(row);
  if (!displaySet) {
    throw new Error('The image of this label is not in the open study; reload the page');
  }
  if (!viewportsOf(displaySet).length) {
    const { viewportGridService } = window.services;
    const { activeViewportId } = viewportGridService.getState();
    const { displaySetInstanceUID } = displaySet;
    const shown = new Promise(resolve => {
      const look = () =>
        displaySetIn(activeViewportId) === displaySet &&
        (document.removeEventListener('CORNERSTONE_IMAGE_RENDERED', look, true), resolve());
      document.addEventListener('CORNERSTONE_IMAGE_RENDERED', look, true);
    });
    viewportGridService.setDisplaySetsForViewports([
      { viewportId: activeViewportId, displaySetInstanceUIDs: [displaySetInstanceUID] },
    ]);
    await shown;
  }
  return displaySet;
}

/** Fetch the label of a row: its values in the server's order of slices, and its structures. */
async function fetchSaved({ image, tag, version }) {
  const query = { image, tag, ...(version ? { version } : {}) };
  const answer = await ask('GET', 'viewer/label', { query });
  const { data, header } = await readNrrd(await answer.arrayBuffer());
  const labels = {};
  for (let number = 0; `segment${number}_name` in header; number += 1) {
    labels[header[`segment${number}_name`]] = Number(header[`segment${number}_labelvalue`]);
  }
  return { data, labels };
}

/** Draw the label of a row as a layer; return its label map. */
async function openSaved(row) {
  const displaySet = await showImageOf(row);
  const { data, labels } = await fetchSaved(row);
  withoutIgnoredFrames(data, labels[IGNORED], row.frames, displaySet.imageIds.length);
  return addLayer(nameOfRow(row), { displaySet, model: modelFor(row, labels), labels }, data);
}

/** The model whose structures are those of a saved label; '' if none has them. */
function modelFor(row, labels) {
  const { models, trainers } = panelState.info;
  const has = name =>
    name &&
    !isDensity(name) &&
    Object.keys(labels).every(label => label === IGNORED || label in labelsOf(name));
  const tasks = [...Object.keys(models), ...Object.keys(trainers)];
  return [row.model, panelState.model, ...tasks].find(has) ?? '';
}

/** Draw the label of a row as the one that is worked on. */
async function correctSaved(row) {
  const displaySet = await showImageOf(row);
  const { data, labels } = await fetchSaved(row);
  withoutIgnoredFrames(data, labels[IGNORED], row.frames, displaySet.imageIds.length);
  if (!data.includes(labels[IGNORED])) {
    delete labels[IGNORED];
  }
  const model = modelFor(row, labels);
  if (!model) {
    throw new Error(
      `No served model has the structures ${Object.keys(labels).join(', ')}; ` +
        'the label can be opened, and not corrected'
    );
  }
  const own = { ...labelsOf(model) };
  if (IGNORED in labels) {
    own[IGNORED] = 255;
  }
  const segmentationId = await ensureLabelmap(displaySet, model, own);
  if (!(await mayReplace(segmentationId))) {
    return 'Your drawing is as it was';
  }
  if (IGNORED in own && !structuresOf(segmentationId)[IGNORED]) {
    const added = { segmentIndex: own[IGNORED], label: IGNORED };
    window.services.segmentationService.addSegment(segmentationId, added);
  }
  const values = new Uint8Array(256);
  Object.entries(labels).forEach(([name, value]) => (values[value] = own[name]));
  await asStep(displaySet, async () => {
    drawLabel(segmentationId, data.map(value => values[value]));
    forgetClicksIn(segmentationId);
  });
  recallFrames(segmentationId, row.frames);
  showOutline(segmentationId, false);
  markLabel(segmentationId);
  armToCorrect();
  if (panelState.model !== model && offeredModels().includes(model)) {
    panelState.model = model;
    announce('model');
  }
  announce('label');
  return `Correct the label of ${nameOfRow(row)}; what you submit becomes the accepted one`;
}

/** Lay the label of a row over the one that is worked on, or over another saved one. */
async function compareSaved(row) {
  const layer = await openSaved(row);
  let mine = activeLabelmap();
  if (!mine || displaySetOf(mine) !== displaySetOf(layer) || !printOf(mine)) {
    const other = savedWork.rows.find(
      one => one !== row && one.image === row.image && one.kind === 'segmentation'
    );
    if (!other) {
      throw new Error('There is nothing to compare it with; run a model or draw a label first');
    }
    mine = await openSaved(other);
  }
  showOutline(mine, true);
  const name = labelLayers.get(mine)?.name ?? 'your label';
  const dice = Object.entries(diceOf(mine, layer)).map(
    ([label, value]) => `${label} ${value.toFixed(3)}`
  );
  savedWork.compared = `Dice of ${name} and ${labelLayers.get(layer).name}: ${dice.join(', ')}`;
  showSaved();
  return savedWork.compared;
}

function savedRow(row) {
  const displaySet = displaySetOfRow(row);
  const percent = row.answer?.percent_density;
  const facts = [
    row.kind === 'density' && `density ${row.density}`,
    typeof percent === 'number' && `${percent.toFixed(0)} % dense`,
    row.model && row.by !== `model ${row.model}` && row.model,
    row.version ? `version ${row.version}` : row.tag,
    ...Object.entries(row.frames ?? {}).map(
      ([name, ranges]) => `${name} on frames ${inWords(ranges)}`
    ),
    displaySet !== activeDisplaySet() && (displaySet?.SeriesDescription || 'another image'),
  ];
  const children = [
    make('div', {}, [
      make('span', { class: row.current ? 'ml-current' : '' }, [nameOfRow(row)]),
      make('span', { class: 'ml-small' }, [` ${facts.filter(Boolean).join(', ')}`]),
    ]),
  ];
  const load = (name, title, run) => action(name, 'Loading ...', run, title);
  if (row.kind === 'segmentation') {
    children.push(
      make('div', { class: 'ml-row' }, [
        load('Open', 'Draw it as an outline, not to be changed', async () => {
          await openSaved(row);
          return `The label of ${nameOfRow(row)} is drawn as an outline`;
        }),
        load('Compare', 'Lay it over your label; shows Dice', () => compareSaved(row)),
        load('Correct', 'Draw it as your label, to change it', () => correctSaved(row)),
      ])
    );
  }
  const of = { class: 'ml-work', 'data-instance': displaySet?.instances?.[0].SOPInstanceUID ?? '' };
  return make('li', of, children);
}

const swatchOf = ([red, green, blue]) =>
  make('span', { class: 'ml-swatch', style: `border-color: rgb(${red} ${green} ${blue})` });

/** The label that is worked on, in the legend of the layers. */
function ownRow(segmentationId) {
  const name = `Your label, ${labelmapModels.get(segmentationId) ?? 'drawn'}`;
  const children = [swatchOf(OVERLAY_COLOURS[0]), make('span', {}, [name])];
  return make('li', { class: 'ml-work ml-layer-row' }, children);
}

function layerRow([segmentationId, { name, colour }]) {
  const removed = async () => {
    removeLayer(segmentationId);
    return 'The layer is closed';
  };
  const title = 'Close this layer; what is saved stays';
  const remove = action('Close', 'Closing ...', removed, title);
  const children = [swatchOf(colour), make('span', {}, [name]), remove];
  return make('li', { class: 'ml-work ml-layer-row' }, children);
}

function showSaved() {
  const box = panelState.root?.querySelector('[data-section="saved"] > details');
  const displaySet = activeDisplaySet();
  if (!box) {
    return;
  }
  const { rows, compared } = savedWork;
  const mine = activeLabelmap();
  const layers = displaySet ? layersOver(displaySet) : [];
  const isHere = row => displaySetOfRow(row) === displaySet; // those of the shown image first
  box.querySelector('summary').textContent = `Saved work of this study (${rows.length})`;
  const items = [
    ...(layers.length && compared ? [make('li', { class: 'ml-dice' }, [compared])] : []),
    ...(layers.length && mine ? [ownRow(mine)] : []),
    ...layers.map(layerRow),
    ...[...rows].sort((one, other) => isHere(other) - isHere(one)).map(savedRow),
  ];
  const list = box.querySelector('.ml-works');
  const ids = layers.map(([segmentationId]) => segmentationId);
  const listed = JSON.stringify([rows, ids, items.map(item => item.outerHTML)]);
  // the same buttons stay: a click on one that goes between press and release would be lost
  if (listed !== savedWork.listed || !list.children.length) {
    savedWork.listed = listed;
    list.replaceChildren(...items);
  }
}

addSection({
  name: 'saved',
  title: 'Saved work',
  order: 45,
  foot: true,
  build: () =>
    fold('saved', 'Saved work of this study', [make('ul', { class: 'ml-works' })], true),
  update: ({ type }) => {
    if (['open', 'image', 'saved'].includes(type)) {
      refreshSaved();
    } else if (type === 'label') {
      showSaved();
    }
  },
});

addSection({
  name: 'old answers',
  title: 'Old answers',
  order: 58,
  build: () => {
    const box = make('input', { type: 'checkbox' });
    box.checked = oldAnswers.kept;
    box.addEventListener('change', () => (oldAnswers.kept = box.checked));
    return make('label', { class: 'ml-switch' }, [box, 'Keep old answers as layers']);
  },
});
