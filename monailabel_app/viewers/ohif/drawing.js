// Brush, eraser, scribbles, box and lasso: what the reader drags over an image, drawn into its label.
//
// Strokes are kept in pixels of the shown plane, so that they are the same at any zoom, turn or flip.

const SIZES = { least: 1, most: 200, first: 8 }; // of the brush, diameter in pixels
const SCRIBBLE_SIZE = 3;
const DRAWN_WITH = ['brush', 'eraser', 'scribble', 'scribble-background', 'box', 'lasso'];
const DRAW_EVENTS = {
  pointerdown: onStrokeStart,
  pointermove: onHover,
  mousedown: keepFromOhif,
  touchstart: keepFromOhif,
  dblclick: keepFromOhif, // two quick presses would enlarge the viewport
  CORNERSTONE_IMAGE_RENDERED: ({ detail }) => showSketch(viewportOf(detail.element)),
};

const drawing = { tool: '', size: SIZES.first, stroke: null, hover: null };

const isBrush = tool => tool === 'brush' || tool === 'eraser';
const isScribble = tool => tool.startsWith('scribble');

const viewportOf = element =>
  window.cornerstone.getEnabledElements().find(({ viewport }) => viewport.element === element)?.viewport;

/** The viewport under the pointer; OHIF gives events over those that are not active to what is around. */
function viewportUnder({ target, clientX, clientY }) {
  const found = window.cornerstone.getEnabledElements().find(({ viewport: { element } }) => {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const inside = clientX >= left && clientX < right && clientY >= top && clientY < bottom;
    return inside && (element.contains(target) || target.contains?.(element));
  });
  return found?.viewport;
}

/** The viewport that a plain press of the main button is in, while a tool is on; Alt turns clicks. */
function pressedViewport(event) {
  const alt = event.altKey && !clicking.sign;
  const other = event.button || event.ctrlKey || event.shiftKey || event.metaKey || alt;
  const kept = toolOn() && !other && event !== clicking.handedOver;
  return kept ? viewportUnder(event) : undefined;
}

function keepFromOhif(event) {
  if (pressedViewport(event)) {
    event.stopPropagation();
  }
}

/** Position of an event in a viewport, CSS pixels. */
function positionIn(viewport, { clientX, clientY }) {
  const { left, top } = viewport.canvas.getBoundingClientRect();
  return [clientX - left, clientY - top];
}

function onStrokeStart(event) {
  const viewport = drawing.tool ? pressedViewport(event) : undefined;
  if (!viewport) {
    return;
  }
  event.stopPropagation();
  event.preventDefault();
  const plane = planeIn(viewport);
  const displaySet = displaySetIn(viewport.id);
  if (!plane || !displaySet || drawing.stroke) {
    const why = 'This view shows no slice or frame; draw in one that does';
    tell(drawing.stroke ? 'The last stroke is still being drawn' : why, 'error');
    return;
  }
  window.services.viewportGridService.setActiveViewportId(viewport.id);
  const points = [plane.toGrid(positionIn(viewport, event))];
  const { tool, size } = drawing;
  const stroke = { tool, size, viewport, displaySet, plane, points, drawn: 0, pointer: event.pointerId };
  drawing.stroke = stroke;
  stroke.target = labelmapToDraw(displaySet).then(target => {
    stroke.images = labelsByImage(target.segmentationId);
    drawBrush(stroke, target);
    return target;
  });
  stroke.target.catch(() => null); // told at the end of the stroke
  stroke.ended = asStep(displaySet, () => endOfStroke(stroke));
  act(make('button'), 'Drawing ...', () => stroke.ended);
  showSketch(viewport);
}

/** Follow a stroke until the button is released, then draw it. */
function endOfStroke(stroke) {
  const follow = event => {
    if (event.pointerId === stroke.pointer) {
      const moved = event.getCoalescedEvents?.() ?? [];
      for (const one of moved.length ? moved : [event]) {
        stroke.points.push(stroke.plane.toGrid(positionIn(stroke.viewport, one)));
      }
      stroke.target.then(target => drawBrush(stroke, target), () => null);
      showSketch(stroke.viewport);
    }
  };
  return new Promise((resolve, reject) => {
    const end = event => {
      if (event.pointerId !== stroke.pointer) {
        return;
      }
      window.removeEventListener('pointermove', follow, true);
      window.removeEventListener('pointerup', end, true);
      window.removeEventListener('pointercancel', end, true);
      if (event.type === 'pointerup') {
        follow(event);
      }
      stroke.target
        .then(target => drawStroke(stroke, target))
        .then(resolve, reject)
        .finally(() => {
          drawing.stroke = null;
          showSketch(stroke.viewport);
        });
    };
    window.addEventListener('pointermove', follow, true);
    window.addEventListener('pointerup', end, true);
    window.addEventListener('pointercancel', end, true);
  });
}

/** Set a pixel of the label under a stroke. */
const setter = ({ plane, images }, value) => (u, v) => {
  const { imageId, place } = plane.pixel(u, v);
  const image = images.get(imageId);
  if (image) {
    valuesOf(image)[place] = value;
  }
};

const radiusOf = ({ size, plane }) => (size / 2) * Math.min(...plane.spacing);

/** Draw what has come to a stroke of the brush or eraser since the last time. */
function drawBrush(stroke, { segmentationId, value }) {
  const { tool, points, plane } = stroke;
  if (!isBrush(tool)) {
    return;
  }
  const mark = setter(stroke, tool === 'brush' ? value : 0);
  for (; stroke.drawn < points.length; stroke.drawn += 1) {
    const from = points[Math.max(0, stroke.drawn - 1)];
    fillStroke(plane, from, points[stroke.drawn], radiusOf(stroke), mark);
  }
  if (!stroke.frame) {
    stroke.frame = window.requestAnimationFrame(() => {
      stroke.frame = 0;
      triggerDrawing(segmentationId);
    });
  }
}

/** Draw a whole stroke; what is said then. */
async function drawStroke(stroke, target) {
  const { tool, plane, points } = stroke;
  const [first, last] = [points[0], points[points.length - 1]];
  if (isScribble(tool)) {
    return answerScribble(stroke, target);
  }
  if (tool === 'box' && panelState.model === REGION_CLICK) {
    return answerBox(stroke, target, first, last);
  }
  const mark = setter(stroke, target.value);
  if (tool === 'box') {
    fillBox(plane, first, last, mark);
  } else if (tool === 'lasso') {
    fillPolygon(plane, points, mark);
  } else {
    drawBrush(stroke, target);
  }
  triggerDrawing(target.segmentationId);
  return tool === 'eraser' ? 'Erased' : `${target.structure} is drawn`;
}

// --- the size of the brush -----------------------------------------------------------------------

function setSize(size) {
  drawing.size = Math.min(SIZES.most, Math.max(SIZES.least, Math.round(size) || SIZES.first));
  const input = panelState.root?.querySelector('.ml-size');
  if (input) {
    input.value = drawing.size;
  }
  showSketch(drawing.hover?.viewport);
}

/** One step larger or smaller: of a tenth, at least one pixel. */
const growBrush = sign => setSize(drawing.size + sign * Math.max(1, Math.round(drawing.size / 10)));

// --- what is seen while drawing ------------------------------------------------------------------

function onHover(event) {
  const viewport = drawing.tool ? viewportUnder(event) : undefined;
  const left = drawing.hover?.viewport;
  drawing.hover = viewport ? { viewport, position: positionIn(viewport, event) } : null;
  if (left && left !== viewport) {
    showSketch(left);
  }
  showSketch(viewport);
}

const svg = (tag, attributes) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
};

const line = (points, attributes = {}) =>
  svg(attributes.open ? 'polyline' : 'polygon', {
    points: points.map(point => [...point].slice(0, 2).join(',')).join(' '),
    ...attributes,
  });

/** The outline of the brush under the pointer. */
function brushOutline(plane, position) {
  const middle = plane.toGrid(position);
  const radius = radiusOf({ size: drawing.size, plane });
  const turns = Array.from({ length: 32 }, (_, number) => (number * Math.PI) / 16);
  return turns.map(turn =>
    plane.toCanvas([
      middle[0] + (Math.cos(turn) * radius) / plane.spacing[0],
      middle[1] + (Math.sin(turn) * radius) / plane.spacing[1],
    ])
  );
}

/** Lines over a viewport: the brush, the stroke that is being drawn, scribbles that are kept. */
function sketchOf(viewport) {
  const plane = planeIn(viewport);
  if (!plane) {
    return [];
  }
  const lines = scribblesIn(viewport).map(({ sign, worlds }) =>
    line(worlds.map(world => viewport.worldToCanvas(world)), { open: '', class: `ml-line-${sign}` })
  );
  const { stroke, hover, tool } = drawing;
  if (isBrush(tool) && hover?.viewport === viewport) {
    lines.push(line(brushOutline(plane, hover.position)));
  }
  if (stroke?.viewport === viewport && !isBrush(stroke.tool)) {
    const { points } = stroke;
    const [first, last] = [points[0], points[points.length - 1]];
    const box = [first, [last[0], first[1]], last, [first[0], last[1]]];
    const shown = (stroke.tool === 'box' ? box : points).map(plane.toCanvas);
    const sign = stroke.tool === 'scribble-background' ? 'background' : 'foreground';
    lines.push(
      isScribble(stroke.tool) ? line(shown, { open: '', class: `ml-line-${sign}` }) : line(shown)
    );
  }
  return lines;
}

function showSketch(viewport) {
  if (!viewport?.element) {
    return;
  }
  const lines = drawing.tool ? sketchOf(viewport) : [];
  let layer = viewport.element.querySelector('.ml-sketch');
  if (!layer && lines.length) {
    layer = svg('svg', { class: 'ml-sketch', 'aria-hidden': 'true' });
    viewport.element.append(layer);
  }
  layer?.replaceChildren(...lines);
}

/** Watch the viewports while the panel is open. */
function watchDrawing(there) {
  if (!there) {
    drawing.tool = '';
    document.querySelectorAll('.ml-sketch').forEach(layer => layer.remove());
  }
  const listen = there ? 'addEventListener' : 'removeEventListener';
  // in the capture phase, before OHIF's own listeners
  Object.entries(DRAW_EVENTS).forEach(([name, watch]) => document[listen](name, watch, true));
  watchLabels(there);
}
