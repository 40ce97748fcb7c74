// Scribbles and boxes for the tools of the server that need no training; the answer goes into the
// chosen structure.

const SCRIBBLES = 'scribbles'; // names of the server's tools
const REGION_CLICK = 'region_click';
// values of the label image that is sent: what is there already, and marks for and against it
const SENT = { structure: 1, background_scribbles: 2, foreground_scribbles: 3 };

// what has been scribbled since the structure was another one; an answer is to all of it
const scribbling = { target: null, base: null, shown: null, strokes: [] };

function forgetScribbles() {
  Object.assign(scribbling, { target: null, base: null, shown: null, strokes: [] });
  window.cornerstone.getEnabledElements().forEach(({ viewport }) => showSketch(viewport));
}

/** The scribbles that lie in what a viewport shows. */
const scribblesIn = viewport =>
  scribbling.strokes.filter(({ shownIn, worlds }) => {
    const imageId = viewport.type === 'stack' ? viewport.getCurrentImageId() : shownIn.imageId;
    return isShown(viewport, { imageId, world: worlds[0] }) && imageId === shownIn.imageId;
  });

/** The pixels of a stroke, by the image of each, and where its points are in the patient. */
function pixelsOf({ tool, plane, points, viewport }) {
  const pixels = [];
  const radius = radiusOf({ size: SCRIBBLE_SIZE, plane });
  const mark = (u, v) => pixels.push(plane.pixel(u, v));
  points.forEach((point, number) =>
    fillStroke(plane, points[Math.max(0, number - 1)], point, radius, mark)
  );
  const sign = tool === 'scribble' ? 'foreground' : 'background';
  const worlds = points.map(point => viewport.canvasToWorld(plane.toCanvas(point)));
  return { sign, pixels, worlds, shownIn: { imageId: pixels[0]?.imageId } };
}

/** Go on with the scribbles of a structure, or begin. */
function scribbleFor(target) {
  const { segmentationId, value } = scribbling.target ?? {};
  if (segmentationId !== target.segmentationId || value !== target.value) {
    forgetScribbles();
    scribbling.target = target;
  }
}

/** Ask for the structure that all scribbles mark, and draw it in place of the last answer. */
async function answerScribble(stroke, target) {
  const { segmentationId, value, structure } = target;
  const made = pixelsOf(stroke);
  if (!made.pixels.length) {
    throw new Error('This scribble lies beside the image');
  }
  scribbleFor(target);
  const strokes = [...scribbling.strokes, made];
  const over = imagesInOrder(segmentationId);
  const { sizes } = takeLabel(segmentationId);
  const length = sizes[0] * sizes[1];
  const marked = withoutAnswer(scribbling).map(found => Number(found === value));
  strokes.forEach(({ sign, pixels }) =>
    pixels.forEach(({ imageId, place }) => {
      marked[over.indexOf(imageId) * length + place] = SENT[`${sign}_scribbles`];
    })
  );
  const answer = await answerMarked(stroke.displaySet, segmentationId, marked);
  const adds = strokes.every(({ sign }) => sign === 'foreground');
  Object.assign(scribbling, { strokes, ...mergeAnswer(scribbling, answer, adds) });
  return `${structure} follows ${strokes.length} ${strokes.length > 1 ? 'scribbles' : 'scribble'}`;
}

/**
 * Ask the tool for scribbles; returns the structure, not 0 inside.
 *
 * @param {Uint8Array} marked values of `SENT`, in the server's order of slices
 */
async function answerMarked(displaySet, segmentationId, marked) {
  const { sizes, grid } = takeLabel(segmentationId);
  const label = await writeNrrd(marked, sizes, grid, 'scribbles.nrrd');
  const label_info = Object.entries(SENT).map(([name, id]) => ({ name, id }));
  const more = { label, label_info, selected_label_name: 'structure' };
  return (await infer(SCRIBBLES, shownInstance(displaySet), more)).label.data;
}

/** Ask for the structure in a box, and draw it. */
async function answerBox({ displaySet, plane }, target, first, last) {
  const inside = [0, 1].map(axis => {
    const ends = [first[axis], last[axis]].map(end =>
      Math.min(plane.size[axis] - 1, Math.max(0, Math.round(end)))
    );
    return [Math.min(...ends), Math.max(...ends)];
  });
  const over = imagesInOrder(target.segmentationId);
  const corners = [0, 1].map(end => {
    const { index, imageId } = plane.pixel(inside[0][end], inside[1][end]);
    return [index[0], index[1], over.indexOf(imageId)];
  });
  const roi = [0, 1, 2].flatMap(axis => corners.map(corner => corner[axis]));
  const { label } = await infer(REGION_CLICK, shownInstance(displaySet), { roi });
  mergeAnswer({ target }, label.data, true);
  return `${target.structure} is found in the box`;
}

/**
 * Ask for the structure that clicks mark, and put it into the label in place of the last answer.
 *
 * A trained model changes the objects that were clicked on. Without one, clicks add the regions that
 * they mark, and if all of them remove, they cut from what is drawn.
 */
async function answerInto(clicks, asked) {
  const { displaySet, model, target } = clicks;
  const { value, structure } = target;
  const drawn = withoutAnswer(clicks).map(found => Number(found === value));
  const adds = isUntrained(model) && asked.some(({ sign }) => sign === 'foreground');
  const answerTo = isUntrained(model) ? answerRegions : answerObjects;
  const answer = asked.length ? await answerTo(clicks, asked, drawn) : null;
  return asStep(displaySet, async () => {
    Object.assign(clicks, { answered: asked, ...mergeAnswer(clicks, answer, adds) });
    const count = `${asked.length} ${asked.length === 1 ? 'click' : 'clicks'}`;
    return `${clicks.model} answered: ${structure} follows ${count}`;
  });
}

/** Ask the tools that need no training about clicks. */
async function answerRegions({ displaySet, target }, asked, drawn) {
  const foreground = pointsOf(asked, 'foreground');
  const background = pointsOf(asked, 'background');
  if (foreground.length) {
    const points = { foreground, background };
    return (await infer(REGION_CLICK, shownInstance(displaySet), points)).label.data;
  }
  const { sizes } = takeLabel(target.segmentationId);
  background.forEach(([x, y, z]) => {
    drawn[(z * sizes[1] + y) * sizes[0] + x] = SENT.background_scribbles;
  });
  return answerMarked(displaySet, target.segmentationId, drawn);
}

/**
 * Draw an answer to marks in place of the last one to them; null draws none.
 *
 * @param {boolean} adds whether what was drawn of the structure before the marks stays
 * @returns {{base: Uint8Array, shown: Uint8Array}} the label before and after
 */
function mergeAnswer(marks, answer, adds) {
  const { segmentationId, value } = marks.target;
  const shown = withoutAnswer(marks); // as it is now
  const base = Uint8Array.from(shown);
  if (answer) {
    mergeStructure(shown, answer, value, adds);
  }
  drawLabel(segmentationId, shown);
  return { base, shown };
}

/** The label of marks without what was drawn for them, as far as nobody has changed it since. */
function withoutAnswer({ target, base, shown }) {
  const { data } = takeLabel(target.segmentationId);
  return shown ? data.map((value, place) => (value === shown[place] ? base[place] : value)) : data;
}

// --- clicks as a part of steps, see `asStep` -----------------------------------------------------

/** The clicks on an image that its labels answer. */
const answeredClicks = displaySet =>
  [...clicking.kept]
    .filter(([, clicks]) => clicks.displaySet === displaySet)
    .map(([key, { answered, base, shown }]) => ({ key, answered, base, shown }));

const sameClicks = (one, other) =>
  [...one, ...other].every(({ key }) => {
    const found = list => list.find(clicks => clicks.key === key)?.answered ?? [];
    return `${found(one).map(click => click.index)}` === `${found(other).map(click => click.index)}`;
  });

/** Have the clicks on an image be as they were. */
function restoreClicks(displaySet, found) {
  for (const [key, clicks] of clicking.kept) {
    if (clicks.displaySet === displaySet) {
      const { answered = [], base, shown } = found.find(one => one.key === key) ?? {};
      Object.assign(clicks, { answered, list: answered, base, shown });
    }
  }
  forgetScribbles(); // they were for another label
  showClicks();
}
