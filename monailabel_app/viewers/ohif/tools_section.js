// The tools that draw and correct a label: one is on at a time, and draws the chosen structure.

const TOOLS = [
  // name, word, key, what it does
  ['add', 'Add', 'A', 'Click on what the label lacks; with Alt on what is too much'],
  ['remove', 'Remove', 'D', 'Click on what the label has too much; with Alt on what it lacks'],
  ['box', 'Box', 'X', 'Drag a box: it is filled; with region_click, what is in it is found'],
  ['lasso', 'Lasso', 'F', 'Drag around the structure; what is inside is filled'],
  ['brush', 'Brush', 'B', 'Paint the structure'],
  ['eraser', 'Eraser', 'E', 'Erase any structure'],
  ['scribble', 'Scribble', 'S', 'Draw a line inside the structure; all of it is found'],
  ['scribble-background', 'Not this', 'G', 'Draw a line where the structure is not'],
];
/** A small button with an icon over a word. */
function iconButton(word, title) {
  const attributes = { class: 'ml-button ml-tool', type: 'button', title };
  return make('button', attributes, withIcon(word));
}

function toolButton([name, word, key, does]) {
  const button = iconButton(word, '');
  Object.assign(button.dataset, { tool: name, does: `${does} (${key})` });
  button.addEventListener('click', () => chooseTool(name));
  return button;
}

/** Why a tool cannot be used now; '' if it can. */
function whyNoTool(name) {
  const displaySet = activeDisplaySet();
  if (!displaySet) {
    return 'No image is open in the active view';
  }
  const clicks = name in { add: 1, remove: 1 };
  if (!(clicks && !answersInto(clickModel())) && !offeredStructures().size) {
    return 'No task of this server draws on such images';
  }
  const answers = panelState.image?.models ?? Object.keys(panelState.info.models);
  if (clicks && !answers.includes(clickModel())) {
    return 'No model of this server follows clicks on this image';
  }
  if (isScribble(name) && !answers.includes(SCRIBBLES)) {
    return 'No model of this server follows scribbles on this image';
  }
  const viewport = activeCornerstoneViewport();
  return viewport && viewport.getImageData?.() && !planeIn(viewport)
    ? 'The active view shows no slice or frame; click on one that does'
    : '';
}

/** Show which tool is on, which cannot be used and why, and what they draw. */
function showTools() {
  const box = panelState.root?.querySelector('.ml-tools');
  if (!box) {
    return;
  }
  const on = toolNow();
  box.querySelectorAll('[data-tool]').forEach(button => {
    const { tool, does } = button.dataset;
    const why = whyNoTool(tool);
    button.setAttribute('aria-pressed', `${tool === on && !why}`);
    button.disabled = Boolean(why);
    button.title = why || does;
  });
  if (on && whyNoTool(on)) {
    Object.assign(drawing, { tool: '' });
    clicking.sign = '';
  }
  document.body.classList.toggle('ml-drawing', Boolean(drawing.tool));
  showStructures();
  showArmed();
  showClicks();
  showSteps();
  window.cornerstone.getEnabledElements().forEach(({ viewport }) => showSketch(viewport));
}

function sizeInput() {
  const attributes = { class: 'ml-size', type: 'number', min: SIZES.least, max: SIZES.most };
  const input = make('input', { ...attributes, value: drawing.size, 'aria-label': 'Brush size' });
  input.addEventListener('change', () => setSize(Number(input.value)));
  return make('label', { class: 'ml-inline', title: 'Diameter in pixels (, and .)' }, ['Size', input]);
}

addSection({
  name: 'tools',
  title: 'Tools',
  order: 40,
  build: () =>
    make('div', { class: 'ml-tools' }, [
      make('div', { class: 'ml-row' }, [structureSelector(), sizeInput()]),
      make('div', { class: 'ml-row' }, TOOLS.slice(0, 4).map(toolButton)),
      make('div', { class: 'ml-row' }, TOOLS.slice(4).map(toolButton)),
      make('div', { class: 'ml-row' }, undoButtons()),
      make('div', { class: 'ml-armed ml-small', 'aria-live': 'polite', hidden: '' }),
      clickControls(),
      shortcutList(),
    ]),
  update: () => showTools(),
});
