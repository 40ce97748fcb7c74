// What lies over all views of an exam: dense tissue, or where a model looks; and how opaque it is.

const OVERLAYS = {
  tissue: 'dense tissue',
  gradcam: 'where the model looks (Grad-CAM)',
  gradient: 'the same by pixel (SmoothGrad)',
};
const opacities = { tissue: 0.35, saliency: 0.7 };
const overlays = new Map(); // what is chosen for each exam, by the UID of its study: {what, on}

/** What is chosen for an exam. */
function overlayOf(study = shownExam()) {
  overlays.set(study, overlays.get(study) ?? { what: 'tissue', on: true });
  return overlays.get(study);
}

const kindOfOpacity = () => (overlayOf().what === 'tissue' ? 'tissue' : 'saliency');

/** The answer of a density model on the shown exam, if there is one. */
function classAnswer() {
  const displaySet = examDisplaySet();
  const kept = displaySet && panelState.answers.get(answerKey(displaySet));
  return kept && isDensity(kept.model) ? kept : undefined;
}

/** Show what is chosen over all views of the shown exam. */
async function showOverlay() {
  const study = shownExam();
  const { what, on } = overlayOf(study);
  styleTissue();
  setLayerOpacity(opacities.saliency);
  if (!on || what === 'tissue') {
    hideLayers(study);
    return on ? 'Dense tissue is shown over the views' : 'Nothing is shown over the views';
  }
  showLayers(study, await saliencyLayers(what));
  return `${OVERLAYS[what]}: shown over the views`;
}

/** The maps of a method, by the image that each lies over; the model is asked if it has none yet. */
async function saliencyLayers(method) {
  const kept = classAnswer();
  if (!kept) {
    throw new Error('No model has answered on this exam; run a density model first');
  }
  const { model, displaySet, answer } = kept;
  if (!Object.values(answer.saliency ?? {}).some(files => files[method])) {
    const again = (await infer(model, shownInstance(displaySet), { saliency: method })).answer;
    const merged = view => ({ ...answer.saliency?.[view], ...again.saliency[view] });
    answer.saliency = Object.fromEntries(
      Object.keys(again.saliency).map(view => [view, merged(view)])
    );
  }
  const pictures = new Map();
  for (const [view, files] of Object.entries(answer.saliency)) {
    const over = displaySetOfView(answer, view, displaySet.StudyInstanceUID);
    if (over) {
      hangInstead(over);
      pictures.set(over.imageIds[0], await fetchLayer(files[method].layer, over));
    }
  }
  return pictures;
}

/** Choice, switch, slider and legend. */
function overlayControls() {
  const select = make(
    'select',
    { 'aria-label': 'Over the views' },
    Object.entries(OVERLAYS).map(([value, name]) => make('option', { value }, [name]))
  );
  select.addEventListener('change', () => {
    Object.assign(overlayOf(), { what: select.value, on: true });
    updateOverlay();
    act(select, 'Fetching ...', showOverlay);
  });
  const shown = make('input', { type: 'checkbox', 'aria-label': 'Show over the views' });
  shown.addEventListener('change', () => {
    overlayOf().on = shown.checked;
    act(shown, 'Fetching ...', showOverlay);
  });
  const slider = make('input', {
    type: 'range',
    min: '0',
    max: '100',
    'aria-label': 'Opacity',
    class: 'ml-opacity',
  });
  slider.addEventListener('input', () => {
    opacities[kindOfOpacity()] = slider.value / 100;
    styleTissue();
    setLayerOpacity(opacities.saliency);
  });
  return make('div', { class: 'ml-overlay' }, [
    make('div', { class: 'ml-row' }, [
      make('label', { class: 'ml-inline' }, [shown, 'Over the views']),
      select,
    ]),
    make('label', { class: 'ml-inline' }, ['Opacity', slider]),
    make('div', { class: 'ml-legend' }),
  ]);
}

/** Set the controls to what is shown. */
function updateOverlay() {
  const box = panelState.root?.querySelector('.ml-overlay');
  if (!box) {
    return;
  }
  const answered = classAnswer();
  box.hidden = !shownTissues().length && !answered;
  const select = box.querySelector('select');
  const { what, on } = overlayOf();
  select.value = what;
  [...select.options].forEach(option => {
    option.disabled = option.value !== 'tissue' && !answered;
  });
  box.querySelector('[type=checkbox]').checked = on;
  box.querySelector('[type=range]').value = Math.round(100 * opacities[kindOfOpacity()]);
  box.querySelector('.ml-legend').replaceChildren(...legend(answered));
}

function legend(answered) {
  if (overlayOf().what === 'tissue') {
    const swatch = (name, index) =>
      make('span', { class: 'ml-key' }, [
        make('span', {
          class: 'ml-swatch',
          style: `background: rgb(${OVERLAY_COLOURS[index].slice(0, 3)})`,
        }),
        name,
      ]);
    return [swatch('dense tissue', 0), swatch('pectoral muscle, not counted', 1)];
  }
  const { answer } = answered ?? {};
  return [
    make('div', { class: 'ml-scale' }, ['0', make('span', { class: 'ml-magma' }), '1']),
    make('div', { class: 'ml-small' }, [
      `What speaks for class ${answer?.class ?? ''}, 1 the most in each view; no outline of tissue`,
    ]),
  ];
}
