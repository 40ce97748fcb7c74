// The panel of this app in OHIF: run any model, see its answer, correct it, submit, go on.

/** Make an element. */
function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
}

const panelState = { info: null, model: '', strategy: '', result: null, root: null };

/** Show in the panel how an action ended. */
function tell(message, kind = 'info') {
  const line = panelState.root?.querySelector('.ml-status');
  if (line) {
    line.textContent = message;
    line.dataset.kind = kind;
  }
}

/** Run an action that takes a while, one at a time, and show how it ended. */
async function act(button, doing, action) {
  button.disabled = true;
  tell(doing, 'busy');
  try {
    tell(await action(), 'done');
  } catch (error) {
    tell(error.message, 'error');
  } finally {
    button.disabled = false;
  }
}

function requireImage() {
  const displaySet = activeDisplaySet();
  if (!displaySet) {
    throw new Error('No image is open in the active viewport; drag a series there first');
  }
  return displaySet;
}

const isDensity = model => panelState.info.models[model]?.type === 'classification';

/** Ask a model about an image, draw its label and show its answer. */
async function answerWith(model, displaySet, more) {
  const { info } = panelState;
  const { answer, label } = await infer(model, displaySet.SeriesInstanceUID, more);
  if (isDensity(model)) {
    await drawTissue(model, displaySet, answer, label);
  } else {
    drawLabel(await ensureLabelmap(displaySet, model, info.models[model].labels), label.data);
  }
  showAnswer(model, displaySet, answer);
  return `${model} answered in ${answer.latencies.total.toFixed(1)} s`;
}

async function runModel() {
  const displaySet = requireImage();
  const { model, info } = panelState;
  if (followsClicks(model)) {
    return withClicks(clicksOn(displaySet, model), []);
  }
  const pictures = isDensity(model) && info.models[model].config?.saliency;
  return answerWith(model, displaySet, pictures ? { saliency: 'gradcam' } : {});
}

function showAnswer(model, displaySet, answer) {
  const box = panelState.root?.querySelector('.ml-answer');
  if (!box) {
    return; // the user opened another tab meanwhile
  }
  const { labels } = panelState.info.models[model];
  if (isDensity(model)) {
    const correct = (name, button) =>
      act(button, 'Saving ...', async () => {
        const file = new File([JSON.stringify({ density: name })], 'answer.json');
        await saveLabel(displaySet.SeriesInstanceUID, file, { model });
        box
          .querySelectorAll('.ml-choice')
          .forEach(one => one.classList.toggle('ml-saved', one.dataset.class === name));
        return `Class ${name} is saved as the label of the exam`;
      });
    box.replaceChildren(...densityAnswer(answer, Object.keys(labels), correct));
    return;
  }
  const rows = [
    ['Labels', Object.keys(answer.label_names).join(', ')],
    ['Share of the image', percent(answer.foreground)],
    ...(answer.objects === undefined ? [] : [['Objects', `${answer.objects}`]]),
    ...(answer.presence === undefined ? [] : [['Presence', percent(answer.presence)]]),
    ['Model version', answer.model_version],
  ];
  box.replaceChildren(table(['Answer', ''], rows));
}

async function drawByHand() {
  const { model, info } = panelState;
  if (isDensity(model)) {
    throw new Error('A density answer is a class: run the model, then choose A, B, C or D');
  }
  await ensureLabelmap(requireImage(), model, info.models[model].labels);
  return `Draw ${Object.keys(info.models[model].labels).join(', ')} with the tools of the next tab`;
}

/** Draw the accepted label of the active image, to correct it. */
async function showAccepted() {
  const { model, info } = panelState;
  if (isDensity(model)) {
    throw new Error('The label of an exam is its class: run the model, then choose A, B, C or D');
  }
  const displaySet = requireImage();
  const query = { label: displaySet.SeriesInstanceUID, tag: 'final' };
  const { data } = await readNrrd(await (await ask('GET', 'datastore/label', { query })).arrayBuffer());
  const { labels } = info.models[model];
  const [only, ...others] = Object.values(labels);
  if (!others.length) {
    data.forEach((value, position) => (data[position] = value ? only : 0)); // objects by number
  }
  drawLabel(await ensureLabelmap(displaySet, model, labels), data);
  return 'The accepted label is shown; what you submit becomes the accepted one';
}

/** Send the label map of the active viewport, with the values of the model's labels. */
async function submitLabel() {
  await clicking.running;
  const segmentationId = activeLabelmap();
  if (!segmentationId || !labelImages(segmentationId).length) {
    throw new Error('There is no label on the active image; run a model or draw one first');
  }
  const model = labelmapModels.get(segmentationId) ?? panelState.model;
  if (isDensity(model)) {
    throw new Error('The label of an exam is its class: choose A, B, C or D above');
  }
  const { labels } = panelState.info.models[model];
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
  const image = displaySetOf(segmentationId).SeriesInstanceUID;
  const label_info = Object.entries(labels).map(([name, value]) => ({ name, idx: value, id: value }));
  const file = await writeNrrd(data, sizes, grid, 'label.nrrd');
  await saveLabel(image, file, { model, label_info });
  return 'The label is saved';
}

/** A name for this browser, so that two readers do not get the same image. */
function readerId() {
  const key = 'monailabel-reader';
  const id = window.localStorage.getItem(key) ?? `OHIF-${Math.random().toString(36).slice(2)}`;
  window.localStorage.setItem(key, id);
  return id;
}

/** Open the next image: one that has no label yet, or a finished one again. */
async function openNext() {
  const { model, info, strategy } = panelState;
  const asked = model in info.trainers ? { model } : {}; // a tool that needs no training has no scores
  const sample = await askJson('POST', `activelearning/${strategy}`, {
    json: { client_id: readerId(), ...asked },
  });
  if (!sample.id) {
    return ['finished', 'review'].includes(strategy)
      ? 'No image is finished yet'
      : 'Every image has a label';
  }
  const study = sample.StudyInstanceUID ?? (await studyOf(sample.id));
  const url = new URL('ohif/monai-label', SERVER);
  url.searchParams.set('StudyInstanceUIDs', study);
  url.searchParams.set('initialSeriesInstanceUID', sample.id);
  window.location.assign(url);
  return `Opening ${sample.id} ...`;
}

async function studyOf(series) {
  const found = await askJson('GET', 'proxy/dicom/qido/series', {
    query: { SeriesInstanceUID: series, includefield: '0020000D' },
  });
  const row = found.find(one => one['0020000E']?.Value[0] === series);
  if (!row) {
    throw new Error(`The archive does not list the series ${series}`);
  }
  return row['0020000D'].Value[0];
}

function choice(name, values, chosen, choose) {
  const select = make(
    'select',
    { 'aria-label': name },
    values.map(value => make('option', { value }, [value]))
  );
  select.value = chosen;
  select.addEventListener('change', () => choose(select.value));
  return make('label', {}, [name, select]);
}

function action(name, doing, run, title = '') {
  const button = make('button', { class: 'ml-button', title }, [name]);
  button.addEventListener('click', () => act(button, doing, run));
  return button;
}

/** Wait until the images of the study are listed. */
function untilListed() {
  const { displaySetService } = window.services;
  return new Promise(resolve => {
    const look = () => displaySetService.getActiveDisplaySets().length && resolve();
    displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, look);
    look();
  });
}

/** The first model to show: one for exams if there are mammograms, else a segmentation model. */
function firstModel(info) {
  const type = Object.keys(mammograms()).length ? 'classification' : 'segmentation';
  const names = Object.keys(info.models);
  return names.find(name => info.models[name].type === type) ?? names[0] ?? '';
}

async function fillPanel(root) {
  const info = await askJson('GET', 'info/');
  await untilListed();
  // scribbles are drawn in 3D Slicer
  const models = Object.keys(info.models).filter(name => info.models[name].type !== 'scribbles');
  panelState.info = info;
  panelState.model = info.models[panelState.model] ? panelState.model : firstModel(info);
  panelState.strategy = Object.keys(info.strategies)[0];
  root.querySelector('.ml-controls').replaceChildren(
    choice('Model', models, panelState.model, value => {
      panelState.model = value;
      showClicks();
    }),
    make('div', { class: 'ml-row' }, [
      action('Run', 'Running ...', runModel, 'Ask the model about the active image'),
      action('Draw', 'Preparing ...', drawByHand, 'Begin an empty label over the active image'),
      action('Submit', 'Saving ...', submitLabel, 'Save the label of the active image'),
      action('Accepted', 'Loading ...', showAccepted, 'Show the accepted label of the active image'),
    ]),
    clickControls(),
    make('div', { class: 'ml-answer' }),
    make('div', { class: 'ml-line' }),
    choice('Choose the next image by', Object.keys(info.strategies), panelState.strategy, value => {
      panelState.strategy = value;
    }),
    make('div', { class: 'ml-row' }, [
      action('Next image', 'Choosing ...', openNext, 'Open the next image'),
    ])
  );
  showClicks();
  if (!models.length) {
    throw new Error('The server has no trained model yet; train one first');
  }
  return `${info.name}, ${models.length} models`;
}

/** Called by React with the panel's element, and with null when it goes. */
function mountPanel(root) {
  panelState.root = root;
  watchClicks(Boolean(root));
  if (!root) {
    return;
  }
  root.replaceChildren(
    make('style', {}, [PANEL_STYLE]),
    make('div', { class: 'ml-status', role: 'status' }),
    make('div', { class: 'ml-controls' })
  );
  act(root, 'Connecting ...', () => fillPanel(root));
}
