// The answer on a mammography exam: class, probabilities, views, notes, saliency, correction.

const SIDES = { R: 'right', L: 'left' };
const percent = share => `${(100 * share).toFixed(1)} %`;

/** The whole answer as elements; `correct` is called with the class that a reader chose. */
function densityAnswer(answer, classes, correct) {
  const parts = [
    make('div', { class: 'ml-class' }, [
      make('span', { class: 'ml-letter' }, [answer.class]),
      make('span', { title: `exam ${answer.exam}` }, [
        `from ${answer.views_used.length} of 4 views`,
      ]),
    ]),
    bars(answer.probabilities, answer.class),
  ];
  if (answer.uncertain) {
    parts.push(
      make('div', { class: 'ml-warning', role: 'alert' }, [
        make('strong', {}, ['Needs a reader']),
        make(
          'ul',
          {},
          answer.reasons.map(reason => make('li', {}, [reason]))
        ),
      ])
    );
  }
  parts.push(table(['Breast', 'Class', 'Probability'], breastRows(answer)));
  parts.push(table(['View', 'Class', 'Probability', 'Dense'], viewRows(answer)));
  const notes = [
    ...(answer.notes ?? []),
    ...Object.entries(answer.views).flatMap(([name, view]) =>
      [...view.doubts, ...view.notes].map(note => `${name}: ${note}`)
    ),
  ];
  if (notes.length) {
    parts.push(
      make('details', {}, [
        make('summary', {}, [`${notes.length} notes`]),
        make(
          'ul',
          {},
          notes.map(note => make('li', {}, [note]))
        ),
      ])
    );
  }
  if (answer.saliency) {
    parts.push(saliencyBox(answer));
  }
  parts.push(make('div', { class: 'ml-small' }, [`Model version ${answer.model_version}`]));
  parts.push(correction(classes, answer.class, correct));
  return parts;
}

function bars(probabilities, answered) {
  return make(
    'div',
    { class: 'ml-bars' },
    Object.entries(probabilities).map(([name, share]) =>
      make('div', { class: name === answered ? 'ml-bar ml-answered' : 'ml-bar' }, [
        make('span', {}, [name]),
        make('span', { class: 'ml-track' }, [
          make('span', { class: 'ml-fill', style: `width: ${100 * share}%` }),
        ]),
        make('span', { class: 'ml-number' }, [percent(share)]),
      ])
    )
  );
}

function breastRows(answer) {
  return Object.entries(answer.breasts).map(([side, breast]) => [
    SIDES[side] ?? side,
    breast.class,
    percent(breast.probabilities[breast.class]),
  ]);
}

function viewRows(answer) {
  const used = Object.entries(answer.views).map(([name, view]) => [
    name,
    view.class,
    percent(view.probabilities[view.class]),
    view.percent_density === undefined ? '' : `${view.percent_density.toFixed(0)} %`,
  ]);
  const left = Object.entries(answer.left_out).map(([name, why]) => [name, `not used: ${why}`]);
  return [...used, ...left];
}

function table(heads, rows) {
  const line = cells =>
    make(
      'tr',
      {},
      cells.map((cell, index) =>
        make('td', index === cells.length - 1 ? { colspan: heads.length - index } : {}, [cell])
      )
    );
  return make('table', {}, [
    make('thead', {}, [
      make(
        'tr',
        {},
        heads.map(head => make('th', {}, [head]))
      ),
    ]),
    make('tbody', {}, rows.map(line)),
  ]);
}

/** Saliency maps of the views: one view and one method at a time, or none. */
function saliencyBox(answer) {
  const picture = make('img', { alt: 'saliency', class: 'ml-saliency' });
  picture.hidden = true;
  const choices = Object.entries(answer.saliency).flatMap(([view, methods]) =>
    Object.entries(methods).map(([method, files]) => [`${view}, ${method}`, files.overlay])
  );
  const select = make('select', { 'aria-label': 'Saliency of a view' }, [
    make('option', { value: '' }, ['off']),
    ...choices.map(([name, file]) => make('option', { value: file }, [name])),
  ]);
  select.addEventListener('change', () => {
    picture.hidden = !select.value;
    if (select.value) {
      picture.src = new URL(select.value, SERVER).toString();
    }
  });
  return make('div', {}, [make('label', {}, ['Saliency ', select]), picture]);
}

function correction(classes, answered, correct) {
  return make('div', {}, [
    make('div', { class: 'ml-small' }, ['The reader’s class, saved as the label of the exam:']),
    make(
      'div',
      { class: 'ml-row' },
      classes.map(name => {
        const button = make('button', { class: 'ml-choice', 'data-class': name }, [name]);
        button.title = name === answered ? `Accept class ${name}` : `Correct to class ${name}`;
        button.addEventListener('click', () => correct(name, button));
        return button;
      })
    ),
  ]);
}

/** Draw the dense tissue of each view that is on the screen. */
async function drawTissue(model, asked, answer, label) {
  const value = answer.label_names[answer.class];
  const labels = { [`dense tissue, class ${answer.class}`]: value };
  const shown = { ...mammograms(), [answer.view]: asked };
  const files = answer.dense_tissue ?? {};
  for (const [view, displaySet] of Object.entries(shown)) {
    let data = view === answer.view ? label.data : null;
    if (!data && files[view]) {
      data = (await readNrrd(await (await ask('GET', files[view])).arrayBuffer())).data;
    }
    if (data && viewportsOf(displaySet).length) {
      drawLabel(await ensureLabelmap(displaySet, model, labels), data);
    }
  }
}
