// The panel is made of sections, one script each; here is what they share. Those of the foot are
// always in sight; the others scroll where a window is low.
//
// A section calls `addSection` once. `build` makes its elements each time the panel is opened (OHIF
// throws them away with the tab), so what must last lies in `panelState` or in the section's script.
// `update` is called after each event of `panelEvents`, and with the type 'open' once all is built:
//
//   open      the panel was opened         answer    a model answered (detail: the answer)
//   image     another image is shown       label     what is drawn has changed
//   model     another model is chosen      saved     a label was saved
//   structure another structure            training  a training began, went on or ended

const panelState = {
  root: null, // the panel's element while it is open
  info: null, // what /info/ answers
  image: null, // what /viewer/image answers about the shown image
  model: '',
  structure: '', // name of the label that the tools draw
  strategy: '',
  answers: new Map(), // the last answer on each image, see `answerKey`
};
const panelEvents = new EventTarget();
const panelSections = [];
const SECTION_EVENTS = ['image', 'model', 'structure', 'answer', 'label', 'saved', 'training'];

/**
 * Add a section to the panel.
 *
 * @param {{name: string, title: string, order: number, foot: ?boolean, build: function(): Element,
 *   update: ?function({type: string, detail: any})}} section `order`: 10 image and hint, 20 run,
 *   30 answer, 40 tools and structures, 62 download; in the foot 45 saved work, 50 submit and next, 70 train and
 *   versions
 */
function addSection(section) {
  panelSections.push(section);
  panelSections.sort((one, other) => one.order - other.order);
}

/** Tell all sections what has happened; one of the events named above. */
function announce(type, detail = null) {
  panelEvents.dispatchEvent(new CustomEvent(type, { detail }));
}

function updateSections(event) {
  if (panelState.root) {
    panelSections.forEach(section => section.update?.(event));
  }
}
SECTION_EVENTS.forEach(type => panelEvents.addEventListener(type, updateSections));

/** The elements of the sections that scroll, or of the foot, in their order. */
const buildSections = (inFoot = false) =>
  panelSections
    .filter(({ foot = false }) => foot === inFoot)
    .map(({ name, title, build }) =>
      make('section', { class: 'ml-section', 'data-section': name }, [
        make('h3', { class: 'ml-unseen' }, [title]),
        build(),
      ])
    );

/** Make an element. */
function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
}

/** A list to choose from, beside its name; `named` is whether that is seen too. */
function choice(name, values, chosen, choose, named = true) {
  const select = make('select', { 'aria-label': name, title: name });
  setChoices(select, values, chosen);
  select.addEventListener('change', () => choose(select.value));
  return make('label', { class: 'ml-field' }, [...(named ? [name] : []), select]);
}

/** What can be opened and closed under its title; which it was is kept in this browser. */
function fold(name, title, children, open = false) {
  const key = `monailabel-open-${name}`;
  const box = make('details', { 'data-fold': name }, [make('summary', {}, [title]), ...children]);
  const kept = window.localStorage.getItem(key);
  box.open = kept ? kept === 'true' : open;
  box.firstElementChild.addEventListener('click', () =>
    window.localStorage.setItem(key, !box.open)
  );
  return box;
}

/** Replace what may be chosen, where it is something else than before. */
function setChoices(select, values, chosen) {
  const before = [...select.options].map(option => option.value);
  if (values.length !== before.length || values.some((value, index) => value !== before[index])) {
    select.replaceChildren(...values.map(value => make('option', { value }, [value])));
  }
  select.value = chosen;
}

/** A button: its name, what is said meanwhile, and what it does; that returns what is said then. */
function action(name, doing, run, title = '') {
  const button = make('button', { class: 'ml-button', type: 'button', title }, withIcon(name));
  button.addEventListener('click', () => act(button, doing, run));
  return button;
}

/** Show in the panel how an action ended. */
function tell(message, kind = 'info') {
  const line = panelState.root?.querySelector('.ml-status');
  if (line) {
    line.textContent = message;
    line.dataset.kind = kind;
  }
}

/** Run an action that takes a while, one at a time, and show how it ended. */
async function act(button, doing, run) {
  const focused = document.activeElement === button;
  button.disabled = true;
  tell(doing, 'busy');
  try {
    tell(await run(), 'done');
  } catch (error) {
    tell(error.message, 'error');
  } finally {
    button.disabled = false;
    if (focused && [null, document.body].includes(document.activeElement)) {
      button.focus(); // what is disabled loses it
    }
  }
}
