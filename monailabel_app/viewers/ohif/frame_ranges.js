// Which frames hold a structure, whether it is outlined there or not. It is kept with the label.
//
// Ranges are counted from 1, in the server's order of slices, the last frame included. What the
// server stores as `ignore` in frames without an outline is not shown as a structure again.

const frameRanges = new Map(); // by label map: {structure: [[first, last], ...]}

/** The ranges of a label map, by structure. */
function rangesOf(segmentationId) {
  frameRanges.set(segmentationId, frameRanges.get(segmentationId) ?? {});
  return frameRanges.get(segmentationId);
}

const asNumbers = ranges =>
  ranges.flatMap(([first, last]) => [...Array(last - first + 1).keys()].map(step => first + step));

const asOwnRanges = numbers =>
  asRanges([...new Set(numbers)].sort((one, other) => one - other));

/** Begin a label on the shown frames if there is none: a range needs no outline. */
async function structureToMark() {
  if (!drawnStructure()) {
    await labelmapToDraw(requireImage());
  }
  return requireStructure();
}

/** Say that the frames of the range that is entered hold the structure. */
async function markFrames() {
  const { segmentationId, name } = await structureToMark();
  const [first, last] = chosenRange(labelImages(segmentationId).length);
  const ranges = rangesOf(segmentationId);
  ranges[name] = asOwnRanges([...asNumbers(ranges[name] ?? []), ...asNumbers([[first + 1, last + 1]])]);
  announce('label');
  return `${name} is on frames ${first + 1} to ${last + 1}; Submit keeps that with the label`;
}

/** Take back, for indices from 0, that frames hold a structure. */
function unmarkFrames(segmentationId, name, first, last) {
  const ranges = rangesOf(segmentationId);
  const left = asNumbers(ranges[name] ?? []).filter(one => one <= first || one > last + 1);
  ranges[name] = asOwnRanges(left);
}

/** What is sent with a label: `frames`, or nothing. */
function framesToSend(segmentationId) {
  const marked = Object.entries(rangesOf(segmentationId)).filter(([, ranges]) => ranges.length);
  return marked.length ? { frames: Object.fromEntries(marked) } : {};
}

const isMarked = segmentationId => Boolean(framesToSend(segmentationId).frames);

/** Take over the ranges of a saved label. */
function recallFrames(segmentationId, saved) {
  frameRanges.set(segmentationId, structuredClone(saved ?? {}));
}

/**
 * Show as empty what the server ignores because of a range: frames that are nothing else.
 *
 * @param {Uint8Array} data in the server's order of slices, changed in place
 * @param {number} ignored value of what nobody labelled; undefined where the label has none
 * @param {object} saved ranges of the label, by structure
 */
function withoutIgnoredFrames(data, ignored, saved, count) {
  const length = data.length / count;
  for (const number of asNumbers(Object.values(saved ?? {}).flat())) {
    const frame = data.subarray((number - 1) * length, number * length);
    if (ignored && !frame.includes(0)) {
      frame.forEach((value, place) => value === ignored && (frame[place] = 0));
    }
  }
}

/** Ranges in words, such as "3–5, 9"; '' without any. */
const inWords = ranges =>
  ranges.map(([first, last]) => (first === last ? `${first}` : `${first}\u2013${last}`)).join(', ');

/** The marked ranges of a structure in words. */
const markedInWords = ({ segmentationId, name }) => inWords(rangesOf(segmentationId)[name] ?? []);
