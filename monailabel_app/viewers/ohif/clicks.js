// Clicks on structures that a model missed or found wrongly; the model then answers again.
//
// Clicks go to the chosen model if it follows them, and its answer replaces the label. Else they go to
// the model of the same structure that does, or to the server's tool that needs no training, whose
// answers go into the chosen structure, where the clicks are.

const CLICKED_TYPES = ['deepgrow', 'deepedit'];
const CLICK_TOOLS = { foreground: 'add', background: 'remove' };
const SIGNS = { foreground: '+', background: '\u2212' }; // as the server names them
const CLICK_PX = 4; // a press that moves further is no click, and the viewer's
const WATCHED = {
  mousedown: onPress,
  CORNERSTONE_IMAGE_RENDERED: () => showClicks(),
};

const clicking = {
  sign: '', // sign of the next clicks; without one, clicks are OHIF's
  kept: new Map(), // by model, display set and, of answers into a structure, structure
  handedOver: null, // the press that is given back to OHIF
  running: null, // the requests in progress
  watched: null, // OHIF's subscription
};

const followsClicks = model => CLICKED_TYPES.includes(panelState.info?.models[model]?.type);

/** The model that clicks are for. */
function clickModel() {
  const { model, structure, image, info } = panelState;
  if (followsClicks(model)) {
    return model;
  }
  const sameStructure = name =>
    followsClicks(name) && !isUntrained(name) && `${Object.keys(labelsOf(name))}` === structure;
  return (image?.models ?? Object.keys(info?.models ?? {})).find(sameStructure) ?? REGION_CLICK;
}

/**
 * What was clicked on an image for a model.
 *
 * @param {string} structure that the answer goes into; '' if it replaces the label
 * @returns {{list: object[], answered: object[], changed: boolean}} the clicks, those that the
 *   label on the screen answers, and whether the model has yet to be asked
 */
function clicksOn(displaySet, model, structure = '') {
  const key = [model, displaySet.displaySetInstanceUID, structure].join(':');
  if (!clicking.kept.has(key)) {
    clicking.kept.set(key, { displaySet, model, list: [], answered: [], changed: false });
  }
  return clicking.kept.get(key);
}

/**
 * The pixel under a position of a viewport that shows slices or frames; undefined beside the image.
 *
 * @returns {?{index: number[], imageId: string, world: number[]}} column, row, and slice or frame
 *   in the server's order; the middle of the pixel
 */
function pixelAt(viewport, position, displaySet) {
  const flat = viewport.type === 'stack';
  const { imageData, dimensions } = viewport.getImageData() ?? {};
  if (!imageData || !displaySet || !(flat || viewport.type === 'orthographic')) {
    return undefined;
  }
  const world = viewport.canvasToWorld(position);
  const [x, y, slice] = window.cornerstone.utilities.transformWorldToIndex(imageData, world);
  const imageId = flat ? viewport.getCurrentImageId() : viewport.getImageIds()[slice];
  const { order } = spatialOrder(displaySet.imageIds);
  const z = order.indexOf(displaySet.imageIds.indexOf(imageId));
  const inside = x >= 0 && x < dimensions[0] && y >= 0 && y < dimensions[1] && z >= 0;
  const middle = () => [...imageData.indexToWorld([x, y, flat ? 0 : slice])];
  return inside ? { index: [x, y, z], imageId, world: middle() } : undefined;
}

/** Whether answers to clicks go into the chosen structure; those of a chosen model replace the label. */
const answersInto = model => isUntrained(model) || model !== panelState.model;

/** What was clicked on an image for the model that clicks are for now. */
function clicksNow(displaySet) {
  const model = clickModel();
  return clicksOn(displaySet, model, answersInto(model) ? panelState.structure : '');
}

/**
 * Use a left click in a viewport as a click for the model. `keepFromOhif` keeps the press from OHIF;
 * if the pointer then moves, it is OHIF's after all, which changes the window, or moves the image.
 */
function onPress(event) {
  const viewport = clicking.sign ? pressedViewport(event) : undefined;
  if (!viewport) {
    return;
  }
  const stop = () => {
    window.removeEventListener('mousemove', follow, true);
    window.removeEventListener('mouseup', end, true);
    window.services.viewportGridService.setActiveViewportId(viewport.id);
  };
  const follow = ({ clientX, clientY }) => {
    if (Math.hypot(clientX - event.clientX, clientY - event.clientY) > CLICK_PX) {
      stop();
      const { clientX: x, clientY: y, button, buttons } = event;
      const press = { bubbles: true, cancelable: true, clientX: x, clientY: y, button, buttons };
      clicking.handedOver = new MouseEvent('mousedown', press);
      viewport.element.dispatchEvent(clicking.handedOver);
    }
  };
  const end = () => {
    stop();
    act(panelState.root, 'Asking ...', () => addClick(viewport, event));
  };
  window.addEventListener('mousemove', follow, true);
  window.addEventListener('mouseup', end, true);
}

async function addClick(viewport, event) {
  const displaySet = displaySetIn(viewport.id);
  const pixel = pixelAt(viewport, positionIn(viewport, event), displaySet);
  if (!pixel) {
    throw new Error('No pixel lies under this click; click on an image shown in slices or frames');
  }
  const target = answersInto(clickModel()) ? await labelmapToDraw(displaySet) : null;
  const clicks = clicksNow(displaySet);
  const [other] = Object.keys(SIGNS).filter(one => one !== clicking.sign);
  const sign = event.altKey ? other : clicking.sign;
  Object.assign(clicks, { target });
  if (clicks.list.some(({ index }) => `${index}` === `${pixel.index}`)) {
    throw new Error('This pixel has a click already; undo that one first');
  }
  return withClicks(clicks, [...clicks.list, { ...pixel, sign }]);
}

/** Ask for an answer to the latest clicks, after the request in progress has ended. */
function withClicks(clicks, list) {
  Object.assign(clicks, { list, changed: true });
  showClicks();
  clicking.running = clicking.running ?? askChanged();
  return clicking.running;
}

/** Forget the clicks whose answers went into a label that is drawn anew. */
function forgetClicksIn(label) {
  for (const clicks of clicking.kept.values()) {
    if (clicks.target?.segmentationId === label) {
      Object.assign(clicks, { list: [], answered: [], base: null, shown: null });
    }
  }
  showClicks();
}
panelEvents.addEventListener('answer', ({ detail: { model, displaySet } }) =>
  forgetClicksIn(`${model}:${displaySet.displaySetInstanceUID}`)
);

/** Ask until each label on the screen answers its clicks; refused clicks are removed. */
async function askChanged() {
  const refusals = new Set();
  let message = '';
  const next = () => [...clicking.kept.values()].find(({ changed }) => changed);
  for (let clicks = next(); clicks; clicks = next()) {
    const asked = clicks.list;
    clicks.changed = false;
    try {
      message = await (clicks.target ? answerInto(clicks, asked) : answerClicks(clicks, asked));
    } catch (error) {
      const refused = asked.filter(click => !clicks.answered.includes(click));
      clicks.list = clicks.list.filter(click => !refused.includes(click));
      refusals.add(error.message);
    }
    showClicks();
  }
  clicking.running = null;
  if (refusals.size) {
    throw new Error([...refusals].join('; '));
  }
  return message;
}

const pointsOf = (asked, sign) => asked.filter(one => one.sign === sign).map(({ index }) => index);

/** Ask a model that follows clicks, and draw its answer. */
const answerClicks = (clicks, asked) =>
  answerWith(
    clicks.model,
    clicks.displaySet,
    Object.fromEntries(Object.keys(SIGNS).map(sign => [sign, pointsOf(asked, sign)])),
    () => (clicks.answered = asked)
  );

/** Remove the clicks on the active image that `keep` leaves out. */
async function takeBack(keep) {
  const clicks = clicksNow(requireImage());
  if (!clicks.list.length) {
    throw new Error('There is no click on the active image');
  }
  return withClicks(clicks, keep(clicks.list));
}

/** What can be done with the clicks that are there. */
function clickControls() {
  return make('div', { class: 'ml-clicks' }, [
    make('div', { class: 'ml-row' }, [
      make('div', { class: 'ml-small ml-inline', title: 'Clicks on the active image' }),
      action('Undo click', 'Asking ...', () => takeBack(list => list.slice(0, -1))),
      action('Clear clicks', 'Asking ...', () => takeBack(() => [])),
    ]),
  ]);
}

/** Show the number of clicks on the open images, and a mark on each click. */
function showClicks() {
  const box = panelState.root?.querySelector('.ml-clicks');
  if (!box) {
    return;
  }
  document.body.classList.toggle('ml-clicking', clicking.sign !== '');
  const listOn = displaySet => (displaySet ? clicksNow(displaySet).list : []);
  const active = listOn(activeDisplaySet());
  box.hidden = !active.length && !followsClicks(panelState.model);
  const counts = Object.entries(SIGNS).map(
    ([name, sign]) => `${sign}${active.filter(one => one.sign === name).length}`
  );
  box.querySelector('.ml-small').textContent = `Clicks: ${counts.join(', ')}`;
  for (const { viewport } of window.cornerstone.getEnabledElements()) {
    markClicks(viewport, listOn(displaySetIn(viewport.id)));
  }
}

function markClicks(viewport, list) {
  const marks = list
    .filter(click => isShown(viewport, click))
    .map(({ sign, world }) => {
      const [left, top] = viewport.worldToCanvas(world);
      const style = `left: ${left}px; top: ${top}px`;
      return make('span', { class: `ml-mark ml-${sign}`, style }, [SIGNS[sign]]);
    });
  let layer = viewport.element.querySelector('.ml-marks');
  if (!layer) {
    layer = make('div', { class: 'ml-marks' });
    viewport.element.append(layer);
  }
  layer.replaceChildren(...marks);
}

/** Whether a viewport shows the slice or frame of a click. */
function isShown(viewport, { imageId, world }) {
  if (viewport.type === 'stack') {
    return viewport.getCurrentImageId() === imageId;
  }
  const volume = viewport.type === 'orthographic' && viewport.getImageData();
  if (!volume) {
    return false;
  }
  const { viewPlaneNormal, focalPoint } = viewport.getCamera();
  const { getSpacingInNormalDirection } = window.cornerstone.utilities;
  const thickness = getSpacingInNormalDirection(volume, viewPlaneNormal);
  const away = world.map((part, axis) => part - focalPoint[axis]);
  return Math.abs(dot(away, viewPlaneNormal)) <= thickness / 2;
}

/** Watch the viewports while the panel is open; without it OHIF gets every click. */
function watchClicks(there) {
  const { EVENTS } = window.services.viewportGridService;
  clicking.sign = '';
  document.body.classList.remove('ml-clicking');
  document.querySelectorAll('.ml-marks').forEach(layer => layer.remove());
  clicking.watched?.unsubscribe();
  clicking.watched = there
    ? window.services.viewportGridService.subscribe(EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, () =>
        showClicks()
      )
    : null;
  const listen = there ? 'addEventListener' : 'removeEventListener';
  // in the capture phase, before OHIF's own listeners
  Object.entries(WATCHED).forEach(([name, watch]) => document[listen](name, watch, true));
}
