// How the label that is worked on looks: which of its structures are shown, and how opaque they are.

const labelLook = { opacity: 0.5 };
const LABELMAP = 'Labelmap';

/** Viewports that show a label map, each as a specifier of cornerstone's style. */
const shownIn = segmentationId =>
  viewportsOf(displaySetOf(segmentationId)).map(viewportId => ({
    viewportId,
    segmentationId,
    type: LABELMAP,
  }));

/** The label map whose look is set here; dense tissue has a slider of its own. */
function lookedAt() {
  const segmentationId = activeLabelmap();
  const own = segmentationId && labelmapModels.get(segmentationId) !== PERCENT_DENSITY;
  return own && labelImages(segmentationId).length ? segmentationId : undefined;
}

/** Fill the structures as the slider says. */
function styleLabel(segmentationId) {
  const { style } = window.cornerstoneTools.segmentation.config;
  const { opacity } = labelLook;
  shownIn(segmentationId).forEach(specifier => {
    const { fillAlpha: before, ...other } = style.getStyle(specifier);
    if (before !== opacity) {
      style.setStyle(specifier, { ...other, fillAlpha: opacity, fillAlphaInactive: opacity });
      window.cornerstone.getEnabledElementByViewportId(specifier.viewportId)?.viewport.render();
    }
  });
}

function isStructureShown(segmentationId, value) {
  const { visibility } = window.cornerstoneTools.segmentation.config;
  return shownIn(segmentationId).every(({ viewportId }) =>
    visibility.getSegmentIndexVisibility(viewportId, { segmentationId, type: LABELMAP }, value)
  );
}

/** A button that shows or hides a structure, in its colour. */
function structureSwitch(segmentationId, [name, value], index) {
  const shown = isStructureShown(segmentationId, value);
  const colour = OVERLAY_COLOURS[index % OVERLAY_COLOURS.length].slice(0, 3);
  const swatch = make('span', { class: 'ml-swatch', style: `background: rgb(${colour})` });
  const look = { type: 'button', 'aria-pressed': `${shown}`, title: `Show or hide ${name}` };
  const button = make('button', look, [swatch, name]);
  button.addEventListener('click', () => {
    const next = button.getAttribute('aria-pressed') !== 'true';
    shownIn(segmentationId).forEach(({ viewportId }) =>
      window.services.segmentationService.setSegmentVisibility(
        viewportId,
        segmentationId,
        value,
        next,
        LABELMAP
      )
    );
    button.setAttribute('aria-pressed', `${next}`);
  });
  return button;
}

function showLook() {
  const box = panelState.root?.querySelector('.ml-look');
  const segmentationId = lookedAt();
  if (!box) {
    return;
  }
  box.hidden = !segmentationId;
  const structures = segmentationId ? Object.entries(structuresOf(segmentationId)) : [];
  const told = JSON.stringify([segmentationId, structures]);
  if (segmentationId && box.dataset.told !== told) {
    box.dataset.told = told;
    box
      .querySelector('.ml-structures')
      .replaceChildren(...structures.map((one, at) => structureSwitch(segmentationId, one, at)));
  }
  if (segmentationId) {
    styleLabel(segmentationId);
  }
}

addSection({
  name: 'look',
  title: 'Look of the label',
  order: 44,
  build: () => {
    const slider = make('input', { type: 'range', min: 0, max: 100, 'aria-label': 'Label opacity' });
    slider.value = 100 * labelLook.opacity;
    slider.addEventListener('input', () => {
      labelLook.opacity = slider.value / 100;
      showLook();
    });
    const box = make('div', { class: 'ml-look' }, [
      make('div', { class: 'ml-structures', role: 'group', 'aria-label': 'Shown structures' }),
      make('label', { class: 'ml-inline' }, ['Opacity', slider]),
    ]);
    box.hidden = true;
    return box;
  },
  update: showLook,
});
