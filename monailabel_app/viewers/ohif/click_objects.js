// What clicks correct with a model of the same structure: the objects that were clicked on, no others.

/** Mark the object of a mask that holds a place; neighbours share an edge, in volumes a face. */
function markObject(mask, marked, place, { columns, rows, deep }) {
  const length = columns * rows;
  const open = [];
  const visit = at => {
    if (mask[at] && !marked[at]) {
      marked[at] = 1;
      open.push(at);
    }
  };
  visit(place);
  while (open.length) {
    const at = open.pop();
    const column = at % columns;
    const row = Math.floor(at / columns) % rows;
    if (column > 0) visit(at - 1);
    if (column < columns - 1) visit(at + 1);
    if (row > 0) visit(at - columns);
    if (row < rows - 1) visit(at + columns);
    if (deep && at >= length) visit(at - length);
    if (deep && at < mask.length - length) visit(at + length);
  }
}

/**
 * Correct a drawn structure by an answer to clicks: the objects at the clicks, as drawn and as
 * answered, become as answered; all others stay as they are drawn.
 *
 * @param {Uint8Array} drawn not 0 inside the structure, in the server's order of slices
 * @param {Uint8Array} answer the same, as answered
 * @param {number[]} places of the clicks in them
 * @param {{columns: number, rows: number, deep: boolean}} grid `deep`: whether objects go on in the
 *   next slice; those of loops do not
 */
function correctedAt(drawn, answer, places, grid) {
  const [before, after] = [new Uint8Array(drawn.length), new Uint8Array(drawn.length)];
  for (const place of places) {
    markObject(drawn, before, place, grid);
    markObject(answer, after, place, grid);
  }
  for (let place = 0; place < after.length; place += 1) {
    if (after[place] && drawn[place] && !before[place]) {
      markObject(drawn, before, place, grid);
    }
  }
  return drawn.map((inside, place) => Number(before[place] || after[place] ? answer[place] : inside));
}

/** Ask a model that follows clicks about a structure that another one answered, or that was drawn. */
async function answerObjects({ displaySet, model, target }, asked, drawn) {
  const points = Object.fromEntries(Object.keys(SIGNS).map(sign => [sign, pointsOf(asked, sign)]));
  const { label } = await infer(model, shownInstance(displaySet), points);
  const value = labelsOf(model)[target.structure];
  const answer = label.data.map(found => Number(found === value));
  const [columns, rows] = takeLabel(target.segmentationId).sizes;
  if (answer.length !== drawn.length) {
    throw new Error('The answer is of another image, so nothing was drawn');
  }
  const places = asked.map(({ index: [x, y, z] }) => (z * rows + y) * columns + x);
  const deep = panelState.image?.dimensions === '3d';
  return correctedAt(drawn, answer, places, { columns, rows, deep });
}
