// Which model, and asking it about the shown image.

const DIAMETER = 'Diameter of objects in pixels';
let enteredDiameter = ''; // of the objects, pixels, as it is entered; empty where it is estimated

const isDensity = model => panelState.info.models[model]?.type === 'classification';

/**
 * Ask a model about an image, draw its label and show its answer, as one step.
 *
 * @param {function} answered called with the drawn answer, as part of the step
 */
async function answerWith(model, displaySet, more, answered = () => null) {
  const { info } = panelState;
  if (!isDensity(model)) {
    const segmentationId = await ensureLabelmap(displaySet, model, info.models[model].labels);
    const clicked = Object.values(more).some(value => Array.isArray(value) && value.length);
    if (!(await mayReplace(segmentationId, clicked))) {
      throw new Error('Your drawing is as it was');
    }
  }
  const { answer, label } = await infer(model, shownInstance(displaySet), more);
  await asStep(displaySet, async () => {
    if (isDensity(model)) {
      await drawTissues(answer, model, displaySet.StudyInstanceUID);
    } else {
      drawLabel(await ensureLabelmap(displaySet, model, info.models[model].labels), label.data);
    }
    answered();
    keepAnswer(model, displaySet, answer);
  });
  return `${model} answered in ${answer.latencies.total.toFixed(1)} s`;
}

const takesDiameter = model => panelState.info.models[model]?.config?.diameter !== undefined;

/** The parameter that tells a model the diameter of the objects; none where it is estimated. */
function toldDiameter(model) {
  const field = panelState.root.querySelector('.ml-diameter input');
  if (!takesDiameter(model)) {
    return {};
  }
  if (!field.checkValidity()) {
    throw new Error('Diameter: enter a number of pixels from 1, or nothing to have it estimated');
  }
  return field.value ? { diameter: field.valueAsNumber } : {};
}

/** A field for the diameter of the objects, shown with models that resample images for it. */
function diameterField() {
  const field = make('input', {
    ...{ type: 'number', min: 1, step: 'any', placeholder: 'auto', 'aria-label': DIAMETER },
    title: 'Typical diameter of the objects in pixels of the image; empty: it is estimated',
  });
  field.value = enteredDiameter;
  field.addEventListener('change', () => (enteredDiameter = field.value));
  return make('div', { class: 'ml-row ml-diameter' }, [
    make('label', { class: 'ml-switch' }, [DIAMETER, field]),
  ]);
}

async function runModel() {
  const displaySet = await openedImage();
  const { model, info } = panelState;
  if (model === PERCENT_DENSITY) {
    return estimateTissue();
  }
  if (isUntrained(model)) {
    throw new Error(`${model} answers to marks: choose Add and click inside a structure, or Box`);
  }
  if (followsClicks(model)) {
    return withClicks(clicksOn(displaySet, model), []);
  }
  const pictures = isDensity(model) && info.models[model].config?.saliency;
  const more = pictures ? { saliency: 'gradcam' } : toldDiameter(model);
  return answerWith(model, displaySet, more);
}

/** The first model to show: one for exams if there are mammograms, else a segmentation model. */
function firstModel(info) {
  const type = Object.keys(mammograms()).length ? 'classification' : 'segmentation';
  const names = Object.keys(info.models);
  return names.find(name => info.models[name].type === type) ?? names[0] ?? '';
}

/** The models to choose from, those that fit the shown image; scribbles are drawn in 3D Slicer. */
function offeredModels() {
  const { image, info } = panelState;
  const names = image?.models ?? Object.keys(info.models);
  return names.filter(name => info.models[name] && info.models[name].type !== 'scribbles');
}

/** Offer what fits the shown image; a model that does not fit it gives way to the best one. */
function offerModels() {
  const offered = offeredModels();
  setChoices(panelState.root.querySelector('.ml-model select'), offered, panelState.model);
  if (!offered.includes(panelState.model)) {
    chooseModel(offered[0] ?? '');
  }
}

function chooseModel(model) {
  panelState.model = model;
  announce('model');
}

addSection({
  name: 'run',
  title: 'Run',
  order: 20,
  build: () => {
    const chooser = choice('Model', offeredModels(), panelState.model, chooseModel);
    chooser.classList.add('ml-model');
    const run = action('Run', 'Running ...', runModel, 'Ask the model about the active image');
    run.classList.add('ml-primary');
    return make('div', {}, [make('div', { class: 'ml-row' }, [chooser, run]), diameterField()]);
  },
  update: ({ type }) => {
    if (type === 'image') {
      offerModels();
    } else if (type === 'model') {
      panelState.root.querySelector('.ml-model select').value = panelState.model;
    }
    panelState.root.querySelector('.ml-diameter').hidden = !takesDiameter(panelState.model);
  },
});
