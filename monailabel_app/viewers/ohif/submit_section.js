// Saving the label of the shown image, and going on to the next image.

const IGNORED = 'ignore'; // the structure of what nobody labelled, as the server names it

/** Send the label map of the active viewport, with the values of the model's labels. */
async function submitLabel() {
  await clicking.running;
  let segmentationId = activeLabelmap();
  if (!segmentationId && layersOver(requireImage()).length) {
    throw new Error('A saved label is shown as a layer; press Correct to work on it');
  }
  if (!segmentationId || !labelImages(segmentationId).length) {
    const task = keepStructure().get(panelState.structure);
    if (!task || isDensity(panelState.model)) {
      throw new Error('There is no label on the active image; run a model or draw one first');
    }
    segmentationId = await ensureLabelmap(requireImage(), task, labelsOf(task));
  }
  const model = labelmapModels.get(segmentationId) ?? panelState.model;
  if (model === PERCENT_DENSITY) {
    return submitTissue();
  }
  if (isDensity(model)) {
    throw new Error('The label of an exam is its class: choose A, B, C or D');
  }
  const { labels, data, sizes, grid } = labelToSend(segmentationId, model);
  const empty = !data.some(Boolean) && !isMarked(segmentationId);
  if (empty && !(await nothingThere(Object.keys(labels)))) {
    return 'Nothing was saved';
  }
  const image = shownInstance(displaySetOf(segmentationId));
  const label_info = Object.entries(labels).map(([name, value]) => ({ name, idx: value, id: value }));
  const file = await writeNrrd(data, sizes, grid, 'label.nrrd');
  await saveLabel(image, file, { model, label_info, ...framesToSend(segmentationId) });
  announce('saved');
  return 'The label is saved';
}

/** A label map in the values of its labels, with these, its sizes and grid. */
function labelToSend(segmentationId, model) {
  const labels = submittedLabels(segmentationId, model);
  const { segments } = segmentationState().getSegmentation(segmentationId);
  const { data, sizes, grid } = takeLabel(segmentationId);
  const values = new Uint8Array(256);
  for (const index of new Set(data)) {
    const name = segments[index]?.label;
    if (index && !(name in labels)) {
      throw new Error(
        `Segment '${name ?? index}' is no label of ${model}; its labels are ` +
          `${Object.keys(labels).join(', ')}: rename the segment or choose another model`
      );
    }
    values[index] = index ? labels[name] : 0;
  }
  data.forEach((index, position) => (data[position] = values[index]));
  return { labels, data, sizes, grid };
}

/** The values that a label is sent with: those of its model, and of what nobody labelled. */
function submittedLabels(segmentationId, model) {
  const labels = labelsOf(model);
  const ignored = structuresOf(segmentationId)[IGNORED];
  return ignored ? { ...labels, [IGNORED]: ignored } : labels;
}

/** The name that the reader entered in the reading room; '' without one. */
const readerName = () => window.localStorage.getItem('monailabel-reading-room-reader')?.trim() ?? '';

/** Whose request it is: of an exam that this reader has not read, the server tells no density. */
function askingReader() {
  const blind = new URLSearchParams(window.location.search).has('blind'); // from the reading room
  const name = readerName() || (blind ? readerId() : '');
  return name ? { reader: name } : {};
}

/** The reader's name, else one for this browser, so that two readers do not get the same image. */
function readerId() {
  if (readerName()) {
    return readerName();
  }
  const key = 'monailabel-reader';
  const id = window.localStorage.getItem(key) ?? `OHIF-${Math.random().toString(36).slice(2)}`;
  window.localStorage.setItem(key, id);
  return id;
}

/** Which images may come next: those of the shown kind, by the scores of the model if it has any. */
function askedOfNext() {
  const { model, info, image } = panelState;
  const like = image?.id ?? (activeDisplaySet() && shownInstance(activeDisplaySet()));
  // a tool that needs no training has no scores
  const scored = model in info.trainers && !(model in (image?.unfit ?? {}));
  return { ...(like ? { like } : {}), ...(scored ? { model } : {}) };
}

/** Open the next image: one that has no label yet, or a finished one again. */
async function openNext() {
  if (!(await mayLeave('Next image'))) {
    return 'This image stays open';
  }
  const { strategy, image } = panelState;
  const asked = askedOfNext();
  const kind = `of this kind (${image?.kind ?? 'as shown'})`;
  const sample = await askJson('POST', `activelearning/${strategy}`, {
    json: { client_id: readerId(), ...asked },
  });
  if (!sample.id) {
    return ['finished', 'review'].includes(strategy)
      ? `No image ${kind} is finished yet`
      : `Every image ${kind} has a label`;
  }
  const url = new URL('ohif/monai-label', SERVER);
  url.searchParams.set('StudyInstanceUIDs', sample.StudyInstanceUID);
  for (const level of ['Series', 'SOP']) {
    url.searchParams.set(`initial${level}InstanceUID`, sample[`${level}InstanceUID`] ?? '');
  }
  window.location.assign(url);
  return `Opening ${sample.id} ...`;
}

addSection({
  name: 'submit',
  title: 'Submit and next',
  order: 50,
  foot: true,
  build: () => {
    const submit = action('Submit', 'Saving ...', submitLabel, 'Save the label of the active image');
    submit.classList.add('ml-primary');
    const { info, strategy } = panelState;
    const choose = value => (panelState.strategy = value);
    const offered = Object.keys(info.strategies);
    return make('div', { class: 'ml-row' }, [
      submit,
      action('Next image', 'Choosing ...', openNext, 'Open the next image'),
      choice('Choose the next image by', offered, strategy, choose, false),
    ]);
  },
});
