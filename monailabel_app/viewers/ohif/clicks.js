// Clicks on structures that a model missed or found wrongly; the model then answers again.

const CLICKED_TYPES = ['deepgrow', 'deepedit'];
const SIGNS = { foreground: '+', background: '\u2212' }; // as the server names them
const WATCHED = {
  mousedown: onPress,
  dblclick: onPress, // two quick clicks would enlarge the viewport
  CORNERSTONE_IMAGE_RENDERED: () => showClicks(),
};

const clicking = {
  sign: '', // sign of the next clicks; without one, clicks are OHIF's
  kept: new Map(), // by model and display set
  running: null, // the requests in progress
  watched: null, // OHIF's subscription
};

const followsClicks = model => CLICKED_TYPES.includes(panelState.info?.models[model]?.type);

/**
 * What was clicked on an image for a model.
 *
 * @returns {{list: object[], answered: object[], changed: boolean}} the clicks, those that the
 *   label on the screen answers, and whether the model has yet to be asked
 */
function clicksOn(displaySet, model) {
  const key = `${model}:${displaySet.displaySetInstanceUID}`;
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

/** Use a left click in a viewport as a click for the model, and keep it from OHIF's tools. */
function onPress(event) {
  const other = event.button || event.ctrlKey || event.shiftKey || event.altKey || event.metaKey;
  const found =
    clicking.sign &&
    !other &&
    window.cornerstone
      .getEnabledElements()
      .find(({ viewport }) => viewport.element.contains(event.target));
  if (!found) {
    return;
  }
  event.stopPropagation();
  if (event.type === 'mousedown') {
    act(panelState.root, 'Asking ...', () => addClick(found.viewport, event));
  }
}

async function addClick(viewport, { clientX, clientY }) {
  const displaySet = displaySetIn(viewport.id);
  const { left, top } = viewport.canvas.getBoundingClientRect();
  const pixel = pixelAt(viewport, [clientX - left, clientY - top], displaySet);
  if (!pixel) {
    throw new Error('No pixel lies under this click; click on an image shown in slices or frames');
  }
  const clicks = clicksOn(displaySet, panelState.model);
  if (clicks.list.some(({ index }) => `${index}` === `${pixel.index}`)) {
    throw new Error('This pixel has a click already; undo that one first');
  }
  return withClicks(clicks, [...clicks.list, { ...pixel, sign: clicking.sign }]);
}

/** Ask for an answer to the latest clicks, after the request in progress has ended. */
function withClicks(clicks, list) {
  Object.assign(clicks, { list, changed: true });
  showClicks();
  clicking.running = clicking.running ?? askChanged();
  return clicking.running;
}

/** Ask until each label on the screen answers its clicks; refused clicks are removed. */
async function askChanged() {
  const refusals = new Set();
  let message = '';
  const next = () => [...clicking.kept.values()].find(({ changed }) => changed);
  for (let clicks = next(); clicks; clicks = next()) {
    const asked = clicks.list;
    clicks.changed = false;
    try {
      const points = name => asked.filter(({ sign }) => sign === name).map(({ index }) => index);
      const named = Object.keys(SIGNS).map(name => [name, points(name)]);
      message = await answerWith(clicks.model, clicks.displaySet, Object.fromEntries(named));
      clicks.answered = asked;
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

/** Remove the clicks on the active image that `keep` leaves out. */
async function takeBack(keep) {
  const clicks = clicksOn(requireImage(), panelState.model);
  if (!clicks.list.length) {
    throw new Error('There is no click on the active image');
  }
  return withClicks(clicks, keep(clicks.list));
}

/** The section of the panel for clicks, shown with models that follow them. */
function clickControls() {
  const toggle = (name, sign, title) => {
    const button = make('button', { class: 'ml-button', 'data-sign': sign, title }, [name]);
    button.addEventListener('click', () => {
      clicking.sign = clicking.sign === sign ? '' : sign;
      showClicks();
    });
    return button;
  };
  return make('div', { class: 'ml-clicks' }, [
    make('div', { class: 'ml-row' }, [
      toggle('Add', 'foreground', 'Click on what the label lacks; press again to end'),
      toggle('Remove', 'background', 'Click on what the label has too much; press again to end'),
    ]),
    make('div', { class: 'ml-row' }, [
      action('Undo click', 'Asking ...', () => takeBack(list => list.slice(0, -1))),
      action('Clear clicks', 'Asking ...', () => takeBack(() => [])),
    ]),
    make('div', { class: 'ml-small' }),
  ]);
}

/** Show which button is on, the number of clicks on the open images, and a mark on each click. */
function showClicks() {
  const box = panelState.root?.querySelector('.ml-clicks');
  if (!box) {
    return;
  }
  const { model } = panelState;
  const clickable = followsClicks(model);
  clicking.sign = clickable ? clicking.sign : '';
  box.hidden = !clickable;
  box
    .querySelectorAll('[data-sign]')
    .forEach(one => one.setAttribute('aria-pressed', `${one.dataset.sign === clicking.sign}`));
  document.body.classList.toggle('ml-clicking', clicking.sign !== '');
  const listOn = displaySet => (clickable && displaySet ? clicksOn(displaySet, model).list : []);
  const counts = Object.entries(SIGNS).map(
    ([name, sign]) => `${sign}${listOn(activeDisplaySet()).filter(one => one.sign === name).length}`
  );
  box.querySelector('.ml-small').textContent = `Clicks on the active image: ${counts.join(', ')}`;
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
