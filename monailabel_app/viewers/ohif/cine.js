// Frames of a loop, slices of a volume: which of them hold a structure, and changes to many at once.
//
// Frames are numbered from 1, in the server's order of slices. What "Fill between" made is known: a
// frame that nobody changed since is made anew the next time, and counts as no drawing.

const frames = { filled: new Map(), timer: 0 };
const FRAMES_QUIET_MS = 250; // after the last change of a stroke

/** The label map of the active viewport, and the value of the structure that tools draw. */
function drawnStructure() {
  const segmentationId = activeLabelmap();
  if (!segmentationId || labelImages(segmentationId).length < 2) {
    return null;
  }
  const { segments } = segmentationState().getSegmentation(segmentationId);
  const { getActiveSegmentIndex } = window.cornerstoneTools.segmentation.segmentIndex;
  const named = Object.values(segments).find(one => one?.label === panelState.structure);
  const value = named?.segmentIndex ?? getActiveSegmentIndex(segmentationId) ?? 1;
  return { segmentationId, value, name: segments[value]?.label ?? `${value}` };
}

function requireStructure() {
  const structure = drawnStructure();
  if (!structure) {
    throw new Error('There is no label on frames here; run a model or draw one first');
  }
  return structure;
}

/** The frames of a label: `frame(n)` is a view of the n-th, from 0. */
function framesOf(segmentationId) {
  const label = takeLabel(segmentationId);
  const length = label.sizes[0] * label.sizes[1];
  const frame = number => label.data.subarray(number * length, (number + 1) * length);
  return { ...label, frame, count: label.sizes[2] };
}

/** Indices of the frames that hold a value. */
const framesWith = ({ frame, count }, value) =>
  [...Array(count).keys()].filter(number => frame(number).includes(value));

/** Where a value lies in a frame, as a text to compare. */
function placesOf(frame, value) {
  const places = [];
  frame.forEach((found, place) => found === value && places.push(place));
  return places.join();
}

const filledFrames = ({ segmentationId, value }) => {
  const key = `${segmentationId}|${value}`;
  frames.filled.set(key, frames.filled.get(key) ?? new Map());
  return frames.filled.get(key);
};

/** Frames in which somebody drew the structure, or corrected it. */
function keyFrames(label, structure) {
  const filled = filledFrames(structure);
  return framesWith(label, structure.value).filter(
    number => filled.get(number) !== placesOf(label.frame(number), structure.value)
  );
}

/** Interpolate the structure between the frames in which it is drawn. */
async function fillBetween() {
  const structure = requireStructure();
  const { segmentationId, value, name } = structure;
  const label = framesOf(segmentationId);
  const keys = keyFrames(label, structure);
  if (keys.length < 2) {
    throw new Error(`Draw ${name} in two frames at least; it is drawn in ${keys.length}`);
  }
  const sent = await writeNrrd(label.data, label.sizes, label.grid, 'label.nrrd');
  const params = JSON.stringify({ values: [value], keys });
  const form = { params, label: sent };
  const answer = await ask('POST', 'viewer/interpolate', { form });
  const { data } = await readNrrd(await answer.arrayBuffer());
  await asStep(displaySetOf(segmentationId), () => drawLabel(segmentationId, data));
  const made = framesOf(segmentationId);
  const filled = filledFrames(structure);
  filled.clear();
  for (let number = keys[0]; number < keys[keys.length - 1]; number += 1) {
    if (!keys.includes(number)) {
      filled.set(number, placesOf(made.frame(number), value));
    }
  }
  announce('label');
  return `${name} is filled in on ${filled.size} frames between ${keys.length} drawn ones`;
}

/** The range that is entered, as indices from 0. */
function chosenRange(count) {
  const [from, to] = ['from', 'to'].map(name =>
    Number(panelState.root.querySelector(`.ml-frames [name="${name}"]`).value)
  );
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 1 && from <= to && to <= count)) {
    throw new Error(`Enter frames from 1 to ${count}, the first one first`);
  }
  return [from - 1, to - 1];
}

/** Change each frame of the range that is entered: `change(frame, value, index)`, in place. */
async function changeRange(change) {
  const { segmentationId, value, name } = requireStructure();
  const label = framesOf(segmentationId);
  const [first, last] = chosenRange(label.count);
  for (let number = first; number <= last; number += 1) {
    change(label.frame(number), value, number);
  }
  await asStep(displaySetOf(segmentationId), () => drawLabel(segmentationId, label.data));
  announce('label');
  return `${name}, frames ${first + 1} to ${last + 1}`;
}

async function clearFrames() {
  const { segmentationId, name } = requireStructure();
  unmarkFrames(segmentationId, name, ...chosenRange(labelImages(segmentationId).length));
  const done = await changeRange((frame, value) =>
    frame.forEach((found, place) => found === value && (frame[place] = 0))
  );
  return `Cleared: ${done}`;
}

/** Copy the structure of the shown frame; what other structures have stays. */
async function copyToFrames() {
  const { segmentationId, value, name } = requireStructure();
  const shown = shownFrame(segmentationId);
  const source = framesOf(segmentationId).frame(shown).slice();
  if (!source.includes(value)) {
    throw new Error(`The shown frame, ${shown + 1}, has no ${name}; show the one to copy`);
  }
  const done = await changeRange((frame, own) =>
    source.forEach((found, place) => {
      if (found === own && !frame[place]) {
        frame[place] = own;
      } else if (found !== own && frame[place] === own) {
        frame[place] = 0;
      }
    })
  );
  return `Copied from frame ${shown + 1}: ${done}`;
}

const activeCornerstoneViewport = () => {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const { activeViewportId } = viewportGridService.getState();
  return cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
};

/** The images of a label map in the order of its frames. */
function imagesInOrder(segmentationId) {
  const over = labelImages(segmentationId).map(image => image.referencedImageId);
  return spatialOrder(over).order.map(index => over[index]);
}

/** Index of the frame in the active viewport; the first one if it is in none. */
const shownFrame = segmentationId =>
  Math.max(
    0,
    imagesInOrder(segmentationId).indexOf(activeCornerstoneViewport()?.getCurrentImageId?.())
  );

/** Show a frame in the active viewport. */
async function showFrame(segmentationId, number) {
  const viewport = activeCornerstoneViewport();
  const imageId = imagesInOrder(segmentationId)[number];
  const index = viewport.getImageIds?.().indexOf(imageId) ?? -1;
  if (viewport.setImageIdIndex && index >= 0) {
    await viewport.setImageIdIndex(index);
  } else if (viewport.getViewReference) {
    const plane = window.cornerstone.metaData.get('imagePlaneModule', imageId);
    const cameraFocalPoint = plane.imagePositionPatient;
    viewport.setViewReference({ ...viewport.getViewReference(), sliceIndex: undefined, cameraFocalPoint });
  }
  viewport.render();
}

/** Frames as ranges, such as [[0, 0], [4, 9]]. */
function asRanges(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges[ranges.length - 1];
    if (last && last[1] === number - 1) {
      last[1] = number;
    } else {
      ranges.push([number, number]);
    }
  }
  return ranges;
}

/** List the frames that hold the structure; a click shows the first one of a range. */
function listFrames() {
  const box = panelState.root?.querySelector('.ml-frames');
  if (!box) {
    return;
  }
  const structure = drawnStructure();
  const count = activeDisplaySet()?.imageIds.length ?? 0;
  box.hidden = count < 2;
  box.querySelectorAll('input').forEach((input, index) => {
    input.max = count;
    input.value = input.value || (index ? count : 1);
  });
  if (!structure) {
    box.querySelector('.ml-frames-title').textContent = `${count} frames`;
    box.querySelectorAll('.ml-frames-list, .ml-frames-marked').forEach(one => one.replaceChildren());
    return;
  }
  const { segmentationId, value, name } = structure;
  const label = framesOf(segmentationId);
  const numbers = framesWith(label, value);
  const keys = keyFrames(label, structure);
  box.querySelector('.ml-frames-title').textContent =
    `${name}: on ${numbers.length} of ${label.count} frames, drawn on ${keys.length}`;
  box.querySelector('.ml-frames-list').replaceChildren(
    ...asRanges(numbers).map(([first, last]) => {
      const text = first === last ? `${first + 1}` : `${first + 1}–${last + 1}`;
      const button = make('button', { type: 'button', title: `Show frame ${first + 1}` }, [text]);
      button.addEventListener('click', () => showFrame(segmentationId, first));
      return button;
    })
  );
  const marked = markedInWords(structure);
  box.querySelector('.ml-frames-marked').textContent = marked && `Marked as holding it: ${marked}`;
}

function listFramesSoon() {
  window.clearTimeout(frames.timer);
  frames.timer = window.setTimeout(listFrames, FRAMES_QUIET_MS);
}

const frameInput = (name, title) =>
  make('label', {}, [
    title,
    make('input', { name, type: 'number', min: 1, step: 1, 'aria-label': `${title} frame` }),
  ]);

addSection({
  name: 'frames',
  title: 'Frames',
  order: 45,
  build: () => {
    const box = make('div', { class: 'ml-frames' }, [
      make('div', { class: 'ml-frames-title' }),
      make('div', { class: 'ml-row' }, [
        make('div', { class: 'ml-frames-list' }),
        frameInput('from', 'From'),
        frameInput('to', 'To'),
      ]),
      make('div', { class: 'ml-row' }, [
        action('Fill between', 'Filling ...', fillBetween, 'Interpolate between drawn frames'),
        action('Copy', 'Copying ...', copyToFrames, 'Copy the shown frame to these frames'),
      ]),
      make('div', { class: 'ml-row' }, [
        action('Mark', 'Marking ...', markFrames, 'These frames hold it, outlined or not'),
        action('Clear', 'Clearing ...', clearFrames, 'Clear outlines and marks on these frames'),
      ]),
      make('div', { class: 'ml-frames-marked ml-small' }),
    ]);
    box.hidden = true;
    return box;
  },
  update: ({ type }) => {
    if (type === 'open') {
      const { SEGMENTATION_DATA_MODIFIED } = window.cornerstoneTools.Enums.Events;
      window.cornerstone.eventTarget.addEventListener(SEGMENTATION_DATA_MODIFIED, listFramesSoon);
    }
    listFramesSoon();
  },
});
