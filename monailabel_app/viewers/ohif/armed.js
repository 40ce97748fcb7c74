// Which tool is on. It stays on over images and reloads of the page, and comes on by itself where there
// is one thing to do: Add after an answer of a model or when a saved label is corrected, and on an
// image that no model answers. Esc, its button or a tool of OHIF that the left button is for ends it;
// then none is on until the next answer.

const KEPT_TOOL = 'monailabel-tool'; // in the storage of the tab: the last tool, '' if it was ended

const armed = { byItself: false }; // whether nobody has chosen the tool that is on

const toolNow = () => drawing.tool || CLICK_TOOLS[clicking.sign] || '';

/** Make a tool the one that is on; '' is none. */
function setTool(tool) {
  const before = toolNow();
  drawing.tool = DRAWN_WITH.includes(tool) ? tool : '';
  clicking.sign = Object.keys(CLICK_TOOLS).find(sign => CLICK_TOOLS[sign] === tool) ?? '';
  if (isScribble(before) && !isScribble(tool)) {
    forgetScribbles();
  }
  drawing.hover = null;
  showTools();
}

/**
 * The reader chooses a tool, or '' to end it.
 *
 * The one that is on is ended, unless it came on by itself: who is used to press Add before a click
 * has it on.
 */
function chooseTool(tool) {
  const next = tool === toolNow() && !armed.byItself ? '' : tool;
  armed.byItself = false;
  window.sessionStorage.setItem(KEPT_TOOL, next);
  setTool(next);
}

/** Whether a tool can be used on the shown image; dense tissue must be drawn before it is corrected. */
function isUsable(tool) {
  const displaySet = activeDisplaySet();
  const nothingDrawn = () =>
    drawnTasks()[0] === PERCENT_DENSITY && !labelImages(tissueId(displaySet)).length;
  return !whyNoTool(tool) && !nothingDrawn();
}

/** The tool for a first label: where no model answers, and no exam is to be read. */
function firstTool() {
  const models = panelState.image?.models ?? [];
  const drawn = models.every(isUntrained) && !isMammogram(activeDisplaySet());
  return drawn ? (['add', 'lasso'].find(isUsable) ?? '') : '';
}

/** Have the kept tool on, or on an image that no model answers the first. */
function armForImage() {
  const kept = window.sessionStorage.getItem(KEPT_TOOL);
  const tool = kept === null ? firstTool() : kept;
  const next = tool && isUsable(tool) ? tool : '';
  if (next !== toolNow()) {
    armed.byItself = true;
    setTool(next);
  }
}

/** Have Add on unless another tool is. */
function armToCorrect() {
  if (!toolNow() && isUsable('add')) {
    armed.byItself = true;
    window.sessionStorage.setItem(KEPT_TOOL, 'add');
    setTool('add');
  }
}

const VIEWERS = 'right button zooms, middle moves, wheel scrolls, Esc ends it';
const ARMED_WORDS = {
  add: ['a click adds', 'Alt removes'],
  remove: ['a click removes', 'Alt adds'],
  box: ['drag a box around', VIEWERS],
  lasso: ['drag around', VIEWERS],
  brush: ['drag to paint', VIEWERS],
  eraser: ['drag to erase', VIEWERS],
  scribble: ['draw a line in', VIEWERS],
  'scribble-background': ['draw a line beside', VIEWERS],
};

/** What the tool that is on does, and how the image is still moved. */
function armedWords(tool) {
  const [does, more] = ARMED_WORDS[tool];
  const [, word] = TOOLS.find(([name]) => name === tool);
  const what = tool === 'eraser' ? 'any structure' : panelState.structure;
  const by = tool in { add: 1, remove: 1 } ? ` (${clickModel()})` : '';
  const drags = '. Drags stay the viewer’s, Esc ends it';
  return `${word} is on: ${does} ${what}${by ? `${by}, ${more}${drags}` : `; ${more}`}`;
}

/** Show which tool is on in words. */
function showArmed() {
  const line = panelState.root?.querySelector('.ml-armed');
  if (line) {
    const tool = toolNow();
    line.hidden = !tool;
    line.textContent = tool ? armedWords(tool) : '';
  }
}

// --- OHIF's own tools ----------------------------------------------------------------------------

const DRAGGED = ['WindowLevel', 'Pan', 'Zoom', 'StackScroll', 'TrackballRotate']; // go with clicks
const CLICKED_ON = [
  ...['Crosshairs', 'Probe', 'Angle', 'Magnify', 'AdvancedMagnify', 'RectangleROI'],
  ...['CalibrationLine', 'UltrasoundDirectionalTool', 'WindowLevelRegion'],
];
const isButtonOf = (target, ids) =>
  target.closest?.(ids.map(id => `[data-cy="${id}"], [data-tool="${id}"]`).join(','));

document.addEventListener(
  'click',
  ({ target }) => {
    const ends = drawing.tool ? [...DRAGGED, ...CLICKED_ON] : CLICKED_ON;
    if (toolNow() && isButtonOf(target, ends)) {
      chooseTool('');
    }
  },
  true
);

panelEvents.addEventListener('image', armForImage);
panelEvents.addEventListener('answer', ({ detail }) => isDensity(detail.model) || armToCorrect());
