// The density of an exam: the reader's class, what is saved, and percent density. It needs no model.

const DENSITY_CLASSES = ['A', 'B', 'C', 'D'];
const densityState = { study: '', saved: null, asked: 0 };

function requireExam() {
  const displaySet = examDisplaySet();
  if (!displaySet) {
    throw new Error('No mammogram is open; choose a mammography exam');
  }
  return displaySet;
}

/** Ask the server what is saved of the shown exam. */
async function loadSavedDensity() {
  const displaySet = examDisplaySet();
  densityState.asked += 1;
  const { asked } = densityState;
  const query = displaySet && { image: shownInstance(displaySet), ...askingReader() };
  const saved = displaySet ? await askJson('GET', 'viewer/density', { query }) : null;
  if (asked === densityState.asked) {
    densityState.saved = saved;
    densityState.study = displaySet?.StudyInstanceUID ?? '';
    showSavedDensity();
  }
}

/** Save a reader's class as the label of the exam, with the percent density that is drawn. */
async function saveClass(name) {
  const displaySet = requireExam();
  const corrected = await saveTissue();
  const percents = shownTissues().map(({ view, percent: value }) => [view, oneDigit(value)]);
  const content = {
    density: name,
    ...(percents.length ? { percent_density: Object.fromEntries(percents) } : {}),
  };
  const answered = classAnswer();
  const file = new File([JSON.stringify(content)], 'answer.json');
  await saveLabel(shownInstance(displaySet), file, {
    ...(answered ? { model: answered.model } : {}),
  });
  await loadSavedDensity();
  announce('saved');
  const tissue = corrected ? `, with the corrected tissue of ${corrected} views` : '';
  return `Class ${name} is saved as the label of the exam${tissue}`;
}

const oneDigit = value => Math.round(10 * value) / 10;

/** Have the server estimate the tissue of all views, and draw it. */
async function estimateTissue() {
  const displaySet = requireExam();
  const { answer } = await infer(PERCENT_DENSITY, shownInstance(displaySet));
  await drawTissues(answer, 'estimate', displaySet.StudyInstanceUID);
  Object.assign(overlayOf(), { what: 'tissue', on: true });
  await showOverlay();
  updateOverlay();
  const left = Object.entries(answer.left_out).map(([view, why]) => `; ${view} not used: ${why}`);
  return `Percent density is estimated${left.join('')}`;
}

/** Draw the tissue as it was corrected and saved. */
async function openSavedTissue() {
  for (const image of Object.keys(densityState.saved.tissue)) {
    const displaySet = displaySetOfImage(image);
    if (displaySet) {
      const data = await fetchLabel('datastore/label', { label: image, tag: TISSUE_TAG });
      await drawTissue(displaySet, mammogramView(displaySet), data, 'corrected');
    }
  }
  announce('label');
  return 'The corrected tissue is shown';
}

/** The view that an image of the server is, by its UIDs. */
function displaySetOfImage(image) {
  const uids = Object.values(densityState.saved.tissue[image]);
  return Object.values(mammograms()).find(one =>
    [one.SeriesInstanceUID, one.instances[0].SOPInstanceUID].some(uid => uids.includes(uid))
  );
}

async function submitTissue() {
  const count = await saveTissue();
  if (!count) {
    throw new Error('No tissue was corrected; the class of the exam is saved by A, B, C or D');
  }
  await loadSavedDensity();
  announce('saved');
  return `The corrected tissue of ${count} views is saved`;
}

// --- elements ------------------------------------------------------------------------------------

const whoAndWhen = ({ by, when }) => {
  const who = by === readerId() ? 'this browser' : by;
  const time = new Date(when).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
  return `${who}, ${time}`;
};

function buildDensity() {
  const classes = DENSITY_CLASSES.map(name => {
    const title = `Save class ${name}, ${CLASS_WORDS[name]}, as the label of the exam`;
    const button = action(name, 'Saving ...', () => saveClass(name), title);
    button.classList.add('ml-choice');
    button.dataset.class = name;
    return button;
  });
  return make('div', { class: 'ml-density' }, [
    make('div', { class: 'ml-told ml-small' }, [
      make('div', { class: 'ml-exam' }),
      make('div', { class: 'ml-saved-class' }),
    ]),
    make('div', { class: 'ml-row' }, [
      ...classes,
      action(
        'Percent density',
        'Estimating ...',
        estimateTissue,
        'Estimate and draw the dense tissue of all views; needs no model, is no BI-RADS class'
      ),
    ]),
    action('Saved tissue', 'Loading ...', openSavedTissue, 'Draw the tissue as it was corrected'),
    make('div', { class: 'ml-percent' }),
    overlayControls(),
  ]);
}

/** Say which exam is meant, and let another of the open ones be hung. */
function showExam() {
  const study = shownExam();
  const date = dateOfExam(study);
  const found = openExams();
  const parts = [`Your BI-RADS density${date && `, exam of ${date}`}:`];
  if (found.length > 1) {
    const select = make(
      'select',
      { 'aria-label': 'Exam' },
      found.map(value => make('option', { value }, [dateOfExam(value) || value]))
    );
    select.value = study;
    select.addEventListener('change', () => hangExam(select.value));
    parts.unshift(make('label', { class: 'ml-inline' }, [`${found.length} exams are open`, select]));
  }
  const shown = activeDisplaySet();
  if (isMammogram(shown) && !mammogramView(shown)) {
    parts.push(make('div', {}, ['The shown image is no plain view; density is read from the others.']));
  }
  panelState.root.querySelector('.ml-exam').replaceChildren(...parts);
}

function showSavedDensity() {
  const box = panelState.root?.querySelector('.ml-density');
  if (!box) {
    return;
  }
  const { labels = [], tissue = {}, hidden, read_by: readBy } = densityState.saved ?? {};
  const [newest, ...earlier] = labels;
  box
    .querySelectorAll('.ml-choice')
    .forEach(one => one.classList.toggle('ml-saved', one.dataset.class === newest?.density));
  const percents = Object.values(newest?.percent_density ?? {});
  const lines = newest
    ? [
        `Saved: ${newest.density} by ${whoAndWhen(newest)}`,
        ...(percents.length
          ? [Object.entries(newest.percent_density).map(([v, p]) => `${v} ${p} %`).join(', ')]
          : []),
        ...(earlier.length
          ? [`Before: ${earlier.map(one => `${one.density} by ${whoAndWhen(one)}`).join('; ')}`]
          : []),
      ]
    : [
        hidden
          ? `Read by ${readBy.join(', ') || 'another reader'}; what was said is shown after your own class.`
          : 'No class is saved yet.',
      ];
  box
    .querySelector('.ml-saved-class')
    .replaceChildren(...lines.map(line => make('div', {}, [line])));
  const corrected = Object.values(tissue);
  const button = [...box.querySelectorAll('.ml-button')].find(
    one => one.textContent === 'Saved tissue'
  );
  button.hidden = !corrected.length;
  button.title = corrected.length ? `Corrected by ${whoAndWhen(corrected[0])}` : '';
}

/** Percent density of what is drawn. */
function showPercent() {
  const box = panelState.root?.querySelector('.ml-percent');
  const found = shownTissues();
  if (!box || !found.length) {
    box?.replaceChildren();
    return;
  }
  const { breasts, exam } = percentByBreast();
  const sides = Object.entries(breasts).map(([side, value]) => `${SIDES[side]} ${value.toFixed(1)}`);
  box.replaceChildren(
    make('div', {}, [
      make('strong', {}, [`Percent density ${exam.toFixed(1)} %`]),
      ` (${sides.join(', ')})`,
    ]),
    fold('percent-views', 'By view', [
      table(
        ['View', 'Dense', 'Source'],
        found.map(({ view, percent: value, source, corrected }) => [
          view,
          `${value.toFixed(1)} %`,
          corrected ? 'corrected, not saved yet' : source,
        ])
      ),
    ]),
    make('div', { class: 'ml-small' }, [
      found.some(({ corrected }) => corrected)
        ? 'Corrected, not saved yet: choose a class, or Submit.'
        : 'An estimate, no BI-RADS class; brush to correct.',
    ])
  );
}

addSection({
  name: 'density',
  title: 'Density of the exam',
  order: 15,
  build: buildDensity,
  update: ({ type }) => {
    const box = panelState.root.querySelector('[data-section=density]');
    const displaySet = examDisplaySet();
    box.hidden = !displaySet;
    if (!displaySet) {
      return;
    }
    if (['open', 'image'].includes(type)) {
      showExam();
      showSavedDensity();
      shownTissues().forEach(kept => showTissue(kept).catch(error => tell(error.message, 'error')));
      if (type === 'open' || densityState.study !== displaySet.StudyInstanceUID) {
        loadSavedDensity().catch(error => tell(error.message, 'error'));
      }
    }
    showPercent();
    updateOverlay();
  },
});
