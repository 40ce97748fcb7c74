// Which model, and asking it about the shown image.

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
  return answerWith(model, displaySet, pictures ? { saliency: 'gradcam' } : {});
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
    return make('div', { class: 'ml-row' }, [chooser, run]);
  },
  update: ({ type }) => {
    if (type === 'image') {
      offerModels();
    } else if (type === 'model') {
      panelState.root.querySelector('.ml-model select').value = panelState.model;
    }
  },
});
