// The image that is meant: which one is shown, what the server says of it, the hint, and which of
// its channels is shown.

const PATIENCE_MS = 20000; // in which OHIF has put an image into the active viewport
const PIXELS_MS = 5000; // and has its pixels; of a damaged image it never has
const LOOK_MS = 50;

const watching = { shown: '', subscription: null, asked: 0, answered: null };

function requireImage() {
  const displaySet = activeDisplaySet();
  if (!displaySet) {
    throw new Error('No image is open in the active viewport; drag a series there first');
  }
  return displaySet;
}

/** Wait until something is found, for so long; what was found, else undefined. */
async function untilFound(find, milliseconds) {
  const end = performance.now() + milliseconds;
  let found = find();
  while (!found && performance.now() < end) {
    await new Promise(resolve => setTimeout(resolve, LOOK_MS));
    found = find();
  }
  return found;
}

/** The viewport that the reader works in, as cornerstone has it. */
function activeViewport() {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const { activeViewportId } = viewportGridService.getState();
  return activeViewportId && cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
}

/** The image in the active viewport, and what can be done with it; OHIF may yet be opening it. */
async function openedImage() {
  await untilFound(activeDisplaySet, PATIENCE_MS);
  const displaySet = requireImage();
  await untilFound(() => activeViewport()?.getImageData?.(), PIXELS_MS);
  await noticeImage();
  return displaySet;
}

/** Ask the server about the shown image if it is another one, and tell the sections. */
function noticeImage() {
  const displaySet = activeDisplaySet();
  const shown = displaySet?.displaySetInstanceUID ?? '';
  if (shown !== watching.shown || !watching.answered) {
    watching.shown = shown;
    watching.answered = askAbout(displaySet);
  }
  return watching.answered; // whoever asked: until then nothing is known of the image
}

async function askAbout(displaySet) {
  watching.asked += 1;
  const { asked } = watching;
  const found = displaySet ? await aboutImage(shownInstance(displaySet)) : null;
  if (asked === watching.asked) {
    panelState.image = found;
    announce('image');
  }
}

/** What can be done with an image; null if the server cannot tell. */
const aboutImage = image => askJson('GET', 'viewer/image', { query: { image } }).catch(() => null);

const IMAGE_EVENTS = { CORNERSTONE_IMAGE_RENDERED: () => noticeImage() };

/** Notice which image is shown while the panel is open. */
function watchImage(there) {
  const { viewportGridService } = window.services;
  watching.shown = '';
  watching.answered = null;
  watching.subscription?.unsubscribe();
  watching.subscription = there
    ? viewportGridService.subscribe(
        viewportGridService.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED,
        () => noticeImage()
      )
    : null;
  const listen = there ? 'addEventListener' : 'removeEventListener';
  Object.entries(IMAGE_EVENTS).forEach(([name, watch]) => document[listen](name, watch, true));
}

// --- channels --------------------------------------------------------------------------------

/** The display set that shows a channel of the shown image. */
function displaySetOfChannel(channel) {
  const series = panelState.image?.channels[channel];
  return window.services.displaySetService
    .getActiveDisplaySets()
    .find(({ SeriesInstanceUID }) => SeriesInstanceUID === series);
}

/** The display set in the active viewport if it shows a channel of an image, by the image's id. */
function shownChannelOf(id) {
  const { image } = panelState;
  const shown = activeDisplaySet();
  const channels = image?.id === id ? Object.values(image.channels) : [];
  return channels.includes(shown?.SeriesInstanceUID) ? shown : undefined;
}

/** Show another channel of the shown image, in its place; what is drawn lies over it too. */
async function showChannel(channel) {
  const { viewportGridService, hangingProtocolService } = window.services;
  const before = requireImage();
  const displaySet = displaySetOfChannel(channel);
  if (!displaySet || displaySet === before) {
    return displaySet ? `Channel ${channel} is shown` : `Channel ${channel} is not in this study`;
  }
  const drawn = activeLabelmap();
  const { activeViewportId } = viewportGridService.getState();
  viewportGridService.setDisplaySetsForViewports(
    hangingProtocolService.getViewportsRequireUpdate(
      activeViewportId,
      displaySet.displaySetInstanceUID
    )
  );
  await untilFound(() => activeDisplaySet() === displaySet, PATIENCE_MS);
  await openedImage();
  if (drawn && labelImages(drawn).length) {
    await moveLabel(drawn, displaySet);
  }
  return `Channel ${channel} is shown`;
}

/** Draw a label over another channel of its image; it is no longer drawn over the one before. */
async function moveLabel(segmentationId, displaySet) {
  const model = labelmapModels.get(segmentationId);
  const { data } = takeLabel(segmentationId);
  const { print, unsaved = false } = labelMarks.get(segmentationId) ?? { print: 0 };
  const byHand = isDrawnByHand(segmentationId);
  const moved = await ensureLabelmap(displaySet, model, structuresOf(segmentationId));
  drawLabel(moved, data);
  labelMarks.set(moved, { print: byHand ? print : printOf(moved), unsaved });
  markLabel(segmentationId); // it is saved, or asked about, where it is now
}

function showChannels() {
  const field = panelState.root.querySelector('.ml-channel');
  const names = Object.keys(panelState.image?.channels ?? {});
  field.hidden = !names.length;
  setChoices(field.querySelector('select'), names, panelState.image?.channel ?? '');
}

addSection({
  name: 'image',
  title: 'Image',
  order: 10,
  build: () => {
    const channels = choice('Channel', [], '', name =>
      act(channels.querySelector('select'), `Opening channel ${name} ...`, () => showChannel(name))
    );
    channels.classList.add('ml-channel');
    return make('div', {}, [make('div', { class: 'ml-hint ml-small' }), channels]);
  },
  update: () => {
    const line = panelState.root.querySelector('.ml-hint');
    line.textContent = panelState.image?.hint ?? '';
    line.hidden = !line.textContent;
    showChannels();
  },
});
