// The reading room: density of exam after exam by one key, second reads without the first answer.
'use strict';

const LISTS = {
  first: ['To read', 'No exam is left that nobody has read'],
  second: ['Second read', 'No exam waits for a second reader'],
  differ: ['Disagreements', 'You and the other readers differ on no exam'],
  done: ['Done', 'You have read no exam yet'],
};
const CLASSES = {
  A: 'almost entirely fatty',
  B: 'scattered fibroglandular',
  C: 'heterogeneously dense',
  D: 'extremely dense',
};
const VIEWS = ['R-CC', 'L-CC', 'R-MLO', 'L-MLO']; // as readers hang them
const NAME = 'monailabel-reading-room-reader';
const SMALL = 104;
const LARGE = 720;

const room = { answer: null, list: 'first', exam: '', before: [], busy: false };
const byId = id => document.getElementById(id);

function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
}

function tell(message, kind = 'info') {
  byId('status').textContent = message;
  byId('status').dataset.kind = kind;
}

/** Ask the server; a refusal becomes an error with its reason. */
async function ask(path, query = {}, options = {}) {
  const url = new URL(path, document.baseURI);
  Object.entries(query).forEach(([name, value]) => url.searchParams.set(name, value));
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error('The server does not answer; is it running?');
  }
  const found = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) {
    throw new Error(typeof found.detail === 'string' ? found.detail : JSON.stringify(found.detail));
  }
  return found;
}

const picture = (image, side) => {
  const url = new URL('reading/picture', document.baseURI);
  url.search = new URLSearchParams({ image, side });
  return url.href;
};

const inList = list => room.answer.exams.filter(row => row.list === list);
const current = () => room.answer.exams.find(row => row.exam === room.exam);
const titleOf = row => [row.name, row.date].filter(Boolean).join(', ');

/** What a reader may know of an exam before answering. */
function stateOf(row) {
  const others = row.read_by.filter(name => name !== room.answer.reader);
  const read = row.read_by.length ? `read by ${row.read_by.join(', ')}` : 'unread';
  const needs = row.needs_second && !others.length ? ', second read needed' : '';
  return `${read}${needs}`;
}

const doubtOf = row =>
  row.doubt === null ? '' : `the model is ${Math.round(100 * row.doubt)} % unsure`;

async function load() {
  const reader = byId('reader').value.trim();
  room.answer = await ask('reading/exams', { reader });
  if (room.answer.login) {
    byId('reader').value = room.answer.reader;
    byId('reader').disabled = true;
  }
}

function showLists() {
  byId('lists').replaceChildren(
    ...Object.entries(LISTS).map(([list, [title]]) => {
      const chosen = String(list === room.list);
      const text = `${title} (${inList(list).length})`;
      const tab = make('button', { role: 'tab', type: 'button', 'aria-selected': chosen }, [text]);
      tab.addEventListener('click', () => open(list));
      return tab;
    })
  );
  byId('exams').replaceChildren(
    ...inList(room.list).map(row => {
      const chosen = String(row.exam === room.exam);
      const small = picture(row.images[0], SMALL);
      const button = make('button', { type: 'button', 'aria-current': chosen }, [
        make('img', { src: small, alt: '', loading: 'lazy', width: 44, height: 52 }),
        make('span', {}, [titleOf(row), make('small', {}, [stateOf(row)])]),
      ]);
      button.addEventListener('click', () => open(room.list, row.exam));
      return make('li', {}, [button]);
    })
  );
  byId('exams').querySelector('[aria-current="true"]')?.scrollIntoView({ block: 'nearest' });
}

function showAgreement() {
  const rows = room.answer.agreement.map(pair => [
    pair.readers.join(' and '),
    `${pair.exams}`,
    `${Math.round(pair.percent_agreement)} %`,
    pair.kappa === null ? 'none' : pair.kappa.toFixed(2),
  ]);
  const line = (cells, tag) => make('tr', {}, cells.map(cell => make(tag, {}, [cell])));
  const table = make('table', {}, [
    make('thead', {}, [line(['Readers', 'Exams', 'Same', 'Kappa'], 'th')]),
    make('tbody', {}, rows.map(row => line(row, 'td'))),
  ]);
  const none = 'Nobody else has read an exam that you have read';
  byId('agreement').lastElementChild.replaceChildren(
    rows.length ? table : none,
    ...(rows.length ? [make('small', {}, ['Exams that you read; kappa with linear weights'])] : [])
  );
}

/** The views of an exam by name; one whose views are unknown has its images without names. */
async function viewsOf(row) {
  const found = await ask('reading/exam', { exam: row.exam }).catch(() => ({ views: {} }));
  const named = VIEWS.filter(view => found.views[view]).map(view => [view, found.views[view]]);
  return named.length ? named : row.images.slice(0, 4).map(image => ['', image]);
}

async function showViews(row) {
  const views = await viewsOf(row);
  if (row.exam !== room.exam) {
    return; // another one was opened meanwhile
  }
  byId('views').replaceChildren(
    ...views.map(([view, image]) =>
      make('figure', { class: view.startsWith('R') ? 'right' : 'left' }, [
        make('img', { src: picture(image, LARGE), alt: view || 'mammogram' }),
        make('figcaption', {}, [view]),
      ])
    )
  );
}

function showExam() {
  const row = current();
  const [title, none] = LISTS[room.list];
  byId('exam').textContent = row ? titleOf(row) : title;
  byId('told').textContent = row ? [stateOf(row), doubtOf(row)].filter(Boolean).join('; ') : none;
  byId('answers').replaceChildren(
    ...(row ? room.answer.classes : []).map(name => {
      const pressed = String(name === (row.consensus ?? row.own));
      const button = make('button', { type: 'button', 'aria-pressed': pressed, 'data-class': name }, [
        make('b', {}, [name]),
        CLASSES[name] ?? '',
      ]);
      button.addEventListener('click', () => save(name));
      return button;
    })
  );
  const given = Object.entries(row?.answers ?? {}).map(([who, name]) => `${who}: ${name}`);
  const agreed = row?.consensus ? [`together: ${row.consensus}`] : [];
  const decide = row?.list === 'differ' ? ['Choose together: it becomes the consensus'] : [];
  byId('others').replaceChildren(
    ...[...given, ...agreed, ...decide].map(text => make('div', {}, [text]))
  );
  byId('back').disabled = !room.before.length;
  byId('skip').disabled = !row;
  const study = row?.StudyInstanceUID;
  byId('ohif').hidden = !study;
  byId('ohif').href = study
    ? `ohif/monai-label?${new URLSearchParams({ StudyInstanceUIDs: study, ...(row.own ? {} : { blind: 1 }) })}`
    : '';
  if (row) {
    showViews(row);
  } else {
    byId('views').replaceChildren();
  }
}

/** Open an exam of a list, by default the first one. */
function open(list, exam = '') {
  const rows = inList(list);
  room.list = list;
  room.exam = (rows.find(row => row.exam === exam) ?? rows[0])?.exam ?? '';
  window.history.replaceState(null, '', `#${new URLSearchParams({ list, exam: room.exam })}`);
  showLists();
  showExam();
  showAgreement();
  const next = rows[rows.findIndex(row => row.exam === room.exam) + 1];
  if (next) {
    viewsOf(next).then(views => views.forEach(([, image]) => (new Image().src = picture(image, LARGE))));
  }
}

/** The exam after the open one in its list; the first one at the end. */
function following() {
  const rows = inList(room.list);
  const place = rows.findIndex(row => row.exam === room.exam);
  return rows[place + 1]?.exam ?? rows.find(row => row.exam !== room.exam)?.exam ?? '';
}

/** Save the density of the open exam under the reader's name, and open the next exam. */
async function save(density) {
  const row = current();
  if (!row || room.busy) {
    return;
  }
  const reader = room.answer.reader || byId('reader').value.trim();
  if (!reader) {
    byId('reader').focus();
    tell('Enter your name first: answers are kept under it', 'error');
    return;
  }
  room.busy = true;
  try {
    const next = following();
    const together = row.list === 'differ' ? { consensus: true } : {};
    const form = new FormData();
    form.append('params', JSON.stringify({ client_id: reader, ...together }));
    form.append('label', new File([JSON.stringify({ density })], 'answer.json'));
    const { list } = room;
    await ask('datastore/label', { image: row.images[0] }, { method: 'PUT', body: form });
    room.before.push([row.exam, list]);
    await load();
    tell(`${titleOf(row)}: ${density} is saved`, 'done');
    open(list, next);
  } catch (error) {
    tell(error.message, 'error');
  } finally {
    room.busy = false;
  }
}

/** Open the exam that was answered last, to look at it or to answer anew. */
function goBack() {
  const last = room.before.pop();
  const row = last && room.answer.exams.find(found => found.exam === last[0]);
  if (row) {
    open(row.list, row.exam);
  }
}

document.addEventListener('keydown', event => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const key = event.key.toUpperCase();
  if (event.repeat || !room.answer) {
    return;
  }
  if (room.answer.classes.includes(key)) {
    save(key);
  } else if (key === 'S') {
    open(room.list, following());
  } else if (key === 'BACKSPACE') {
    goBack();
  } else {
    return;
  }
  event.preventDefault();
});
byId('back').addEventListener('click', goBack);
byId('skip').addEventListener('click', () => open(room.list, following()));
byId('reader').addEventListener('change', () => {
  window.localStorage.setItem(NAME, byId('reader').value.trim());
  byId('reader').blur();
  start();
});

async function start() {
  try {
    await load();
    const { exams, reader } = room.answer;
    const asked = new URLSearchParams(window.location.hash.slice(1));
    const named = row =>
      row.exam === asked.get('exam') || (row.StudyInstanceUID || null) === asked.get('study');
    const row = exams.find(named);
    const lists = [row?.list, ...Object.keys(LISTS)].filter(Boolean);
    open(lists.find(list => inList(list).length) ?? 'first', row?.exam);
    if (!exams.length) {
      tell('There are no mammography exams here', 'error');
    } else if (!reader) {
      byId('reader').focus();
      tell('Enter your name: answers are kept under it');
    } else {
      tell('Press A, B, C or D');
    }
  } catch (error) {
    tell(error.message, 'error');
  }
}

byId('reader').value = window.localStorage.getItem(NAME) ?? '';
start();
